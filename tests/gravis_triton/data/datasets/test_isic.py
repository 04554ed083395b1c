"""The official ISIC layouts, with the traps that they hold."""

from collections import Counter
from pathlib import Path

import pytest

from gravis_triton.data.datasets.open import open_collection
from gravis_triton.data.datasets.records import Collection, Record
from gravis_triton.errors import UserError

HEADER_2018 = "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC"
HEADER_2019 = "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK"


def one_hot(image_id: str, position: int, length: int) -> str:
    return ",".join([image_id, *("1.0" if i == position else "0.0" for i in range(length))])


def write(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def by_id(collection: Collection) -> dict[str, Record]:
    return {record.id: record for record in collection.records}


@pytest.fixture
def isic_2017(tmp_path: Path, images, masks) -> Path:
    """Three training, two validation and one test image."""
    train = tmp_path / "ISIC-2017_Training_Data"
    images(train, ["ISIC_0000000.jpg", "ISIC_0000001.jpg", "ISIC_0000002.jpg"])
    images(train, [f"ISIC_000000{i}_superpixels.png" for i in range(3)])
    write(
        train / "ISIC-2017_Training_Data_metadata.csv",
        "image_id,age_approximate,sex",
        "ISIC_0000000,unknown,male",
    )
    write(
        tmp_path / "ISIC-2017_Training_Part3_GroundTruth.csv",
        "image_id,melanoma,seborrheic_keratosis",
        "ISIC_0000000,0.0,0.0",
        "ISIC_0000001,1.0,0.0",
        "ISIC_0000002,0.0,1.0",
    )
    masks(
        tmp_path / "ISIC-2017_Training_Part1_GroundTruth",
        ["ISIC_0000000_segmentation.png", "ISIC_0000001_Segmentation.png"],
    )
    images(tmp_path / "ISIC-2017_Validation_Data", ["ISIC_0001769.jpg", "ISIC_0001852.jpg"])
    write(
        tmp_path / "ISIC-2017_Validation_Part3_GroundTruth.csv",
        "image_id,melanoma,seborrheic_keratosis",
        "ISIC_0001769,0.0,0.0",
        "ISIC_0001852,1.0,0.0",
    )
    images(tmp_path / "ISIC-2017_Test_v2_Data", ["ISIC_0012086.jpg"])
    return tmp_path


def test_2017_splits_labels_and_scored_classes(isic_2017: Path) -> None:
    collection = open_collection(str(isic_2017))
    assert collection.name == "ISIC 2017"
    assert collection.classes == ("melanoma", "seborrheic_keratosis", "nevus")
    assert collection.scored_classes == ("melanoma", "seborrheic_keratosis")
    assert [(record.id, record.split, record.label) for record in collection.records] == [
        ("ISIC_0000000", "train", 2),
        ("ISIC_0000001", "train", 0),
        ("ISIC_0000002", "train", 1),
        ("ISIC_0001769", "validation", 2),
        ("ISIC_0001852", "validation", 0),
        ("ISIC_0012086", "test", None),
    ]


def test_2017_masks_are_found_in_both_spellings_and_may_be_absent(isic_2017: Path) -> None:
    records = by_id(open_collection(str(isic_2017)))
    with_mask = [image_id for image_id, record in records.items() if record.mask is not None]
    assert with_mask == ["ISIC_0000000", "ISIC_0000001"]
    mask = records["ISIC_0000001"].mask
    assert mask is not None
    assert mask.read().mode == "L"


def test_2017_one_official_folder_reads_its_images_with_the_labels_beside_it(isic_2017: Path) -> None:
    collection = open_collection(str(isic_2017 / "ISIC-2017_Training_Data"))
    assert collection.name == "ISIC 2017"
    assert [(record.id, record.label) for record in collection.records] == [
        ("ISIC_0000000", 2),
        ("ISIC_0000001", 0),
        ("ISIC_0000002", 1),
    ]


def test_2017_one_official_folder_may_be_named_relatively(isic_2017: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(isic_2017 / "ISIC-2017_Validation_Data")
    assert [record.label for record in open_collection(".").records] == [2, 0]


def test_2017_one_official_folder_alone_has_no_superpixels_and_no_labels(tmp_path: Path, images) -> None:
    folder = tmp_path / "ISIC-2017_Training_Data"
    images(folder, ["ISIC_0000000.jpg", "ISIC_0000000_superpixels.png"])
    collection = open_collection(str(folder))
    assert [record.id for record in collection.records] == ["ISIC_0000000"]
    assert collection.classes == ()


def test_2017_mask_folder_is_refused_as_images_by_id(isic_2017: Path) -> None:
    with pytest.raises(UserError, match=r"Part1_GroundTruth: no images of ISIC 2017 in it"):
        open_collection(str(isic_2017 / "ISIC-2017_Training_Part1_GroundTruth"))


def test_jpeg_suffixes_in_any_spelling(tmp_path: Path, images) -> None:
    images(tmp_path / "ISIC-2017_Training_Data", ["ISIC_1.JPG", "ISIC_2.jpeg", "ISIC_3.jpg", "._ISIC_3.jpg"])
    assert [record.id for record in open_collection(str(tmp_path)).records] == ["ISIC_1", "ISIC_2", "ISIC_3"]


def test_folder_unpacked_into_itself(tmp_path: Path, images) -> None:
    outer = tmp_path / "ISIC-2017_Training_Data"
    images(outer / "ISIC-2017_Training_Data", ["ISIC_0000000.jpg"])
    write(
        tmp_path / "ISIC-2017_Training_Part3_GroundTruth.csv",
        "image_id,melanoma,seborrheic_keratosis",
        "ISIC_0000000,1,0",
    )
    for directory in (tmp_path, outer):
        assert [record.label for record in open_collection(str(directory)).records] == [0]


def test_2016_headless_labels_of_both_kinds(tmp_path: Path, images, masks) -> None:
    images(tmp_path / "ISBI2016_ISIC_Part1_Training_Data", ["ISIC_0000000.jpg", "ISIC_0000001.jpg"])
    images(tmp_path / "ISBI2016_ISIC_Part3_Training_Data", ["ISIC_0000000.jpg", "ISIC_0000001.jpg"])
    masks(tmp_path / "ISBI2016_ISIC_Part1_Training_GroundTruth", ["ISIC_0000000_Segmentation.png"])
    write(
        tmp_path / "ISBI2016_ISIC_Part3_Training_GroundTruth.csv",
        "ISIC_0000000,benign",
        "ISIC_0000001,malignant",
    )
    images(tmp_path / "ISBI2016_ISIC_Part1_Test_Data", ["ISIC_0000003.jpg"])
    write(tmp_path / "ISBI2016_ISIC_Part3_Test_GroundTruth.csv", "ISIC_0000003,1.0")
    collection = open_collection(str(tmp_path))
    assert (collection.name, collection.classes) == ("ISIC 2016", ("benign", "malignant"))
    assert collection.scored_classes == ("malignant",)
    assert [(r.id, r.split, r.label, r.mask is None) for r in collection.records] == [
        ("ISIC_0000000", "train", 0, False),
        ("ISIC_0000001", "train", 1, True),
        ("ISIC_0000003", "test", 1, True),
    ]


def test_2016_other_labels_are_reported_with_their_line(tmp_path: Path, images) -> None:
    images(tmp_path / "ISBI2016_ISIC_Part3_Training_Data", ["ISIC_0000000.jpg"])
    write(
        tmp_path / "ISBI2016_ISIC_Part3_Training_GroundTruth.csv",
        "ISIC_0000000,benign",
        "ISIC_0000001,dubious",
    )
    with pytest.raises(
        UserError, match=r"GroundTruth\.csv, line 2, column class: expected one of benign, .*found 'dubious'"
    ):
        open_collection(str(tmp_path))


def test_2018_task_3_labels_in_their_folder_and_lesion_groups(tmp_path: Path, images) -> None:
    images(tmp_path / "ISIC2018_Task3_Training_Input", ["ISIC_0024306.jpg", "ISIC_0024307.jpg"])
    write(
        tmp_path / "ISIC2018_Task3_Training_GroundTruth" / "ISIC2018_Task3_Training_GroundTruth.csv",
        HEADER_2018,
        one_hot("ISIC_0024306", 1, 7),
        one_hot("ISIC_0024307", 3, 7),
    )
    write(
        tmp_path / "ISIC2018_Task3_Training_LesionGroupings.csv",
        "image,lesion_id,diagnosis_confirm_type",
        "ISIC_0024306,HAM_0000550,follow_up",
        "ISIC_0024307,HAM_0000550,follow_up",
    )
    images(tmp_path / "ISIC2018_Task3_Validation_Input", ["ISIC_0034321.jpg", "ISIC_0034322.jpg"])
    write(
        tmp_path / "ISIC2018_Task3_Validation_GroundTruth.csv",
        HEADER_2018 + ",score_weight",
        one_hot("ISIC_0034321", 6, 7) + ",1.0",
        one_hot("ISIC_0034322", 6, 7) + ",0.0",
    )
    collection = open_collection(str(tmp_path))
    assert collection.classes == ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")
    assert [(r.split, r.label, r.group) for r in collection.records] == [
        ("train", 1, "HAM_0000550"),
        ("train", 3, "HAM_0000550"),
        ("validation", 6, None),
        ("validation", None, None),  # its score_weight is 0: the challenge's scorer leaves it out
    ]


def test_2018_tasks_1_and_2_have_masks_and_no_labels(tmp_path: Path, images, masks) -> None:
    for name, image_id in (("Training", "ISIC_1"), ("Validation", "ISIC_2"), ("Test", "ISIC_3")):
        images(tmp_path / f"ISIC2018_Task1-2_{name}_Input", [f"{image_id}.jpg"])
        masks(tmp_path / f"ISIC2018_Task1_{name}_GroundTruth", [f"{image_id}_segmentation.png"])
    collection = open_collection(str(tmp_path))
    assert (collection.name, collection.classes) == ("ISIC 2018", ())
    assert [record.split for record in collection.records] == ["train", "validation", "test"]
    assert all(record.mask is not None for record in collection.records)


def test_2018_image_of_two_tasks_belongs_to_the_test_split_if_one_table_has_it_there(tmp_path: Path, images) -> None:
    images(tmp_path / "ISIC2018_Task1-2_Test_Input", ["ISIC_1.jpg"])
    images(tmp_path / "ISIC2018_Task3_Training_Input", ["ISIC_1.jpg", "ISIC_2.jpg"])
    write(
        tmp_path / "ISIC2018_Task3_Training_GroundTruth.csv",
        HEADER_2018,
        one_hot("ISIC_1", 0, 7),
        one_hot("ISIC_2", 1, 7),
    )
    records = by_id(open_collection(str(tmp_path)))
    assert (records["ISIC_1"].split, records["ISIC_1"].label) == ("test", 0)
    assert (records["ISIC_2"].split, records["ISIC_2"].label) == ("train", 1)


def test_2019_downsampled_names_groups_and_empty_lesion_ids(tmp_path: Path, images) -> None:
    names = ["ISIC_0000000.jpg", "ISIC_0000001_downsampled.jpg", "ISIC_0000002_downsampled.jpg"]
    images(tmp_path / "ISIC_2019_Training_Input", names)
    write(
        tmp_path / "ISIC_2019_Training_GroundTruth.csv",
        HEADER_2019,
        one_hot("ISIC_0000000", 7, 9),
        one_hot("ISIC_0000001_downsampled", 0, 9),
        one_hot("ISIC_0000002", 1, 9),
    )
    write(
        tmp_path / "ISIC_2019_Training_Metadata.csv",
        "image,age_approx,anatom_site_general,lesion_id,sex",
        "ISIC_0000000,55.0,anterior torso,,female",
        "ISIC_0000001_downsampled,,,BCN_1,",
        "ISIC_0000002_downsampled,30.0,,BCN_1,male",
    )
    collection = open_collection(str(tmp_path))
    assert collection.name == "ISIC 2019"
    assert len(collection.classes) == 9
    assert collection.scored_classes == collection.classes
    assert [(record.id, record.label, record.group) for record in collection.records] == [
        ("ISIC_0000000", 7, None),
        ("ISIC_0000001_downsampled", 0, "BCN_1"),
        ("ISIC_0000002_downsampled", 1, "BCN_1"),
    ]


HEADER_2020 = (
    "image_name,patient_id,lesion_id,sex,age_approx,anatom_site_general_challenge,diagnosis,benign_malignant,target"
)


@pytest.mark.parametrize("folder", ["train", "ISIC_2020_Training_JPEG/train"])
def test_2020_targets_and_patients(tmp_path: Path, images, folder: str) -> None:
    images(tmp_path / folder, ["ISIC_0015719.jpg", "ISIC_0052212.jpg"])
    write(
        tmp_path / "ISIC_2020_Training_GroundTruth_v2.csv",
        HEADER_2020,
        "ISIC_0015719,IP_3075186,IL_1,female,45.0,upper extremity,unknown,benign,0",
        "ISIC_0052212,IP_2842074,IL_2,female,50.0,,nevus,malignant,1",
    )
    collection = open_collection(str(tmp_path))
    assert (collection.name, collection.scored_classes) == ("ISIC 2020", ("malignant",))
    assert [(r.split, r.label, r.group) for r in collection.records] == [
        ("train", 0, "IP_3075186"),
        ("train", 1, "IP_2842074"),
    ]


def test_2020_train_folder_itself(tmp_path: Path, images) -> None:
    images(tmp_path / "train", ["ISIC_0015719.jpg"])
    write(
        tmp_path / "ISIC_2020_Training_GroundTruth.csv",
        "image_name,patient_id,sex,target",
        "ISIC_0015719,IP_3075186,female,1",
    )
    collection = open_collection(str(tmp_path / "train"))
    assert (collection.name, [record.label for record in collection.records]) == ("ISIC 2020", [1])


def test_a_train_folder_without_isic_files_beside_it_is_any_folder(tmp_path: Path, images) -> None:
    images(tmp_path / "train", ["a.jpg"])
    assert open_collection(str(tmp_path / "train")).name == "train"
    assert open_collection(str(tmp_path)).records[0].split == "train"


@pytest.fixture
def ham10000(tmp_path: Path, images, masks) -> Path:
    images(tmp_path / "HAM10000_images_part_1", ["ISIC_0027419.jpg", "ISIC_0025030.jpg"])
    images(tmp_path / "HAM10000_images_part_2", ["ISIC_0031633.jpg"])
    masks(tmp_path / "HAM10000_segmentations_lesion_tschandl", ["ISIC_0031633_segmentation.png"])
    write(
        tmp_path / "HAM10000_metadata.csv",
        "lesion_id,image_id,dx,dx_type,age,sex,localization",
        "HAM_0000118,ISIC_0027419,bkl,histo,80.0,male,scalp",
        "HAM_0000118,ISIC_0025030,bkl,histo,80.0,male,scalp",
        "HAM_0001466,ISIC_0031633,akiec,histo,,female,ear",
    )
    return tmp_path


def test_ham10000_parts_labels_groups_and_masks(ham10000: Path) -> None:
    collection = open_collection(str(ham10000))
    assert (collection.name, collection.classes) == (
        "HAM10000",
        ("mel", "nv", "bcc", "akiec", "bkl", "df", "vasc"),
    )
    assert [(r.id, r.label, r.group, r.mask is None) for r in collection.records] == [
        ("ISIC_0025030", 4, "HAM_0000118", True),
        ("ISIC_0027419", 4, "HAM_0000118", True),
        ("ISIC_0031633", 3, "HAM_0001466", False),
    ]


def test_ham10000_test_image_that_was_withdrawn_may_be_missing_or_unlabeled(ham10000: Path, images) -> None:
    header, row = "lesion_id,image_id,dx", "HAMTEST_1,ISIC_0034524,nv"
    write(ham10000 / "ISIC2018_Task3_Test_GroundTruth.csv", header, row, "HAMTEST_2,ISIC_0035068,nv")
    images(ham10000 / "ISIC2018_Task3_Test_Images", ["ISIC_0034524.jpg"])
    assert [r.id for r in open_collection(str(ham10000)).records if r.split == "test"] == ["ISIC_0034524"]
    images(ham10000 / "ISIC2018_Task3_Test_Images", ["ISIC_0035068.jpg"])
    assert by_id(open_collection(str(ham10000)))["ISIC_0035068"].label is None


def test_ham10000_one_part_by_name(ham10000: Path) -> None:
    collection = open_collection(str(ham10000 / "HAM10000_images_part_2"))
    assert [(record.id, record.label) for record in collection.records] == [("ISIC_0031633", 3)]


def test_ham10000_tab_separated_metadata(ham10000: Path) -> None:
    table = ham10000 / "HAM10000_metadata.csv"
    (ham10000 / "HAM10000_metadata.tab").write_text(table.read_text().replace(",", "\t"))
    table.unlink()
    assert Counter(record.label for record in open_collection(str(ham10000)).records) == {4: 2, 3: 1}


def test_ham10000_unknown_diagnosis_is_reported(ham10000: Path) -> None:
    table = ham10000 / "HAM10000_metadata.csv"
    table.write_text(table.read_text().replace("akiec", "wart"))
    with pytest.raises(UserError, match=r"line 4, column dx: expected one of mel, nv, .*, found 'wart'"):
        open_collection(str(ham10000))


def test_labels_without_image_are_counted_and_named(isic_2017: Path) -> None:
    (isic_2017 / "ISIC-2017_Training_Data" / "ISIC_0000001.jpg").unlink()
    with pytest.raises(
        UserError,
        match=r"1 of 3 labels in .*_Part3_GroundTruth\.csv have no image in .*Training_Data, e\.g\. ISIC_0000001",
    ):
        open_collection(str(isic_2017))


def test_images_without_label_row_have_no_label(isic_2017: Path, images) -> None:
    images(isic_2017 / "ISIC-2017_Training_Data", ["ISIC_0000009.jpg"])
    assert by_id(open_collection(str(isic_2017)))["ISIC_0000009"].label is None


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            ["image_id,melanoma", "ISIC_1,1"],
            r"no column seborrheic_keratosis; expected .*, found image_id, melanoma",
        ),
        ([""], r"no column image_id, melanoma, seborrheic_keratosis; .* found an empty file"),
        (["ISIC_1,yes,0"], r"line 2, column melanoma: expected 0 or 1, found 'yes'"),
        (["ISIC_1,0.5,0"], r"line 2, column melanoma: expected 0 or 1, found '0\.5'"),
        (["ISIC_1,1,1"], r"line 2: expected at most one of .* found melanoma and seborrheic_keratosis"),
        (["ISIC_1,1"], r"line 2: expected 3 fields, found 2"),
        (["ISIC_1,1,0", "", "ISIC_1,0,0"], r"line 4: image id ISIC_1 is already on line 2"),
    ],
)
def test_malformed_labels_are_reported_with_file_line_and_column(
    tmp_path: Path, images, lines: list[str], message: str
) -> None:
    images(tmp_path / "ISIC-2017_Training_Data", ["ISIC_1.jpg"])
    if lines[0].startswith("ISIC"):
        lines = ["image_id,melanoma,seborrheic_keratosis", *lines]
    write(tmp_path / "ISIC-2017_Training_Part3_GroundTruth.csv", *lines)
    with pytest.raises(UserError, match=r"ISIC-2017_Training_Part3_GroundTruth\.csv.*" + message):
        open_collection(str(tmp_path))


def test_labels_that_are_no_text_are_reported(tmp_path: Path, images) -> None:
    images(tmp_path / "ISIC-2017_Training_Data", ["ISIC_1.jpg"])
    (tmp_path / "ISIC-2017_Training_Part3_GroundTruth.csv").write_bytes(b"\xff\xfe\x00\x01image_id")
    with pytest.raises(UserError, match=r"Part3_GroundTruth\.csv: cannot be read as a UTF-8 CSV file"):
        open_collection(str(tmp_path))


def test_labels_written_by_a_spreadsheet_are_read(tmp_path: Path, images) -> None:
    images(tmp_path / "ISIC-2017_Training_Data", ["ISIC_1.jpg"])
    text = "\ufeffimage_id, melanoma ,seborrheic_keratosis\r\nISIC_1.jpg,0, 1\r\n\r\n"
    (tmp_path / "ISIC-2017_Training_Part3_GroundTruth.csv").write_bytes(text.encode())
    assert [record.label for record in open_collection(str(tmp_path)).records] == [1]


def test_one_hot_row_without_a_class_is_reported(tmp_path: Path, images) -> None:
    images(tmp_path / "ISIC2018_Task3_Training_Input", ["ISIC_1.jpg"])
    write(tmp_path / "ISIC2018_Task3_Training_GroundTruth.csv", HEADER_2018, one_hot("ISIC_1", -1, 7))
    with pytest.raises(UserError, match=r"line 2: expected exactly one of MEL, .* to be 1, found none"):
        open_collection(str(tmp_path))


def test_a_folder_that_may_not_be_read_is_reported(isic_2017: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(folder: Path) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(Path, "iterdir", denied)
    with pytest.raises(UserError, match=r"ISIC-2017_Training_Data: no permission to read it"):
        open_collection(str(isic_2017))


def test_two_files_of_one_image_id_are_refused(tmp_path: Path, images) -> None:
    images(tmp_path / "ISIC-2017_Training_Data", ["ISIC_1.jpg", "ISIC_1.png"])
    with pytest.raises(UserError, match=r"two images have the id ISIC_1"):
        open_collection(str(tmp_path))


def test_two_challenges_in_one_folder_are_refused(isic_2017: Path, images) -> None:
    images(isic_2017 / "ISIC_2019_Training_Input", ["ISIC_1.jpg"])
    with pytest.raises(UserError, match=r"holds ISIC 2017 and ISIC 2019: put each in its own folder"):
        open_collection(str(isic_2017))


def test_official_labels_beside_a_folder_of_another_name_are_not_silently_unused(tmp_path: Path, images) -> None:
    write(
        tmp_path / "ISIC_2019_Training_GroundTruth.csv", HEADER_2019, one_hot("ISIC_1", 0, 9), one_hot("ISIC_2", 1, 9)
    )
    with pytest.raises(UserError, match=r"holds the labels .* expected the folder ISIC_2019_Training_Input beside"):
        open_collection(str(tmp_path))
    images(tmp_path / "images", ["ISIC_1.jpg", "ISIC_2.jpg"])
    collection = open_collection(str(tmp_path))
    assert [collection.class_names(record) for record in collection.records] == ["MEL", "NV"]
