"""Tables of images, and folders of images with folders of masks."""

import unicodedata
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from gravis_triton.data.datasets.open import open_collection
from gravis_triton.data.datasets.records import Collection, Record
from gravis_triton.data.datasets.table import OUTPUT_KEY
from gravis_triton.errors import UserError


def by_id(collection: Collection) -> dict[str, Record]:
    return {record.id: record for record in collection.records}


@pytest.fixture
def paired(tmp_path: Path, images, masks) -> Path:
    """images/ with four images, masks/ with two masks."""
    images(tmp_path / "images", ["a.jpg", "b.jpg", "c.jpg", "d.jpg"])
    masks(tmp_path / "masks", ["a.png", "b_segmentation.png"])
    return tmp_path


def test_images_and_masks_are_pairs_and_no_classes(paired: Path) -> None:
    collection = open_collection(str(paired))
    assert collection.classes == ()
    assert {record.id: record.mask and record.mask.path.name for record in collection.records} == {
        "images/a.jpg": "a.png", "images/b.jpg": "b_segmentation.png", "images/c.jpg": None, "images/d.jpg": None,
    }  # fmt: skip


def test_masks_are_found_inside_of_splits_and_classes(tmp_path: Path, images, masks) -> None:
    for split in ("train", "test"):
        for name in ("nevus", "melanoma"):
            images(tmp_path / split / "images" / name, ["a.jpg"])
            masks(tmp_path / split / "masks" / name, ["a.png"])
    collection = open_collection(str(tmp_path))
    assert collection.classes == ("melanoma", "nevus")
    record = by_id(collection)["train/images/nevus/a.jpg"]
    assert (record.split, record.label) == ("train", 1)
    assert record.mask.path == tmp_path / "train" / "masks" / "nevus" / "a.png"


def test_splits_inside_of_the_folder_images_are_no_classes(tmp_path: Path, images) -> None:
    images(tmp_path / "images" / "train", ["a.jpg"])
    images(tmp_path / "images" / "test", ["b.jpg"])
    collection = open_collection(str(tmp_path))
    assert collection.classes == ()
    assert [record.split for record in collection.records] == ["test", "train"]


def test_a_table_beside_images_and_masks_gives_labels_groups_and_splits(paired: Path) -> None:
    (paired / "metadata.csv").write_text(
        "image_id,dx,lesion_id,split\na,nevus,L1,train\nb,melanoma,L2,val\nc.jpg,nevus,,test\n"
    )
    collection = open_collection(str(paired))
    assert collection.classes == ("melanoma", "nevus")
    records = by_id(collection)
    assert {id_: (r.label, r.group, r.split, r.mask is not None) for id_, r in records.items()} == {
        "images/a.jpg": (1, "L1", "train", True),
        "images/b.jpg": (0, "L2", "validation", True),
        "images/c.jpg": (1, None, "test", False),
        "images/d.jpg": (None, None, None, False),  # not in the table
    }


def test_a_parquet_table_lists_images_and_masks_by_path(paired: Path) -> None:
    table = pa.table({"photo": ["images/a.jpg", "images/c.jpg"], "outline": ["masks/a.png", None], "dx": [10, 9]})
    pa.parquet.write_table(table, paired / "table.parquet")
    collection = open_collection(str(paired / "table.parquet"), columns="image=photo,mask=outline")
    assert collection.classes == ("9", "10")
    records = by_id(collection)
    assert list(records) == ["images/a.jpg", "images/c.jpg"]
    assert records["images/a.jpg"].mask.path == paired / "masks" / "a.png"
    assert (records["images/c.jpg"].mask, records["images/c.jpg"].label) == (None, 0)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("photo,label\na,x\n", r"no image column among photo, label .*--columns image=NAME"),
        ("image,label\nz,x\n", r"line 2, column image: expected an image in or below .*, found 'z'"),
        ("image,label\na,x\na.jpg,x\n", r"line 3, column image: expected an image that no other row lists"),
        ("image,split\na,fold7\n", r"column split: expected one of train, .*found 'fold7'"),
        ("image,mask\na,z.png\n", r"column mask: expected an image in or below"),
    ],
)
def test_faults_of_a_table_name_the_line_and_a_hint(paired: Path, table: str, message: str) -> None:
    (paired / "metadata.csv").write_text(table)
    with pytest.raises(UserError, match=message):
        open_collection(str(paired))


def test_two_tables_leave_open_which_one_counts(paired: Path) -> None:
    for name in ("a.csv", "b.csv"):
        (paired / name).write_text("image\na\n")
    with pytest.raises(UserError, match=r"holds 2 tables \(a\.csv, b\.csv\): give one of these"):
        open_collection(str(paired))
    assert len(open_collection(str(paired / "b.csv")).records) == 1


def test_shards_are_refused_with_the_way_to_read_them(tmp_path: Path) -> None:
    shard = tmp_path / "train-00000-of-00001.parquet"
    pa.parquet.write_table(pa.table({"image": [{"bytes": b"", "path": "a.jpg"}], "image_id": ["a"]}), shard)
    for data in (tmp_path, shard):
        with pytest.raises(UserError, match=f"holds its images: give --data hf:{tmp_path}, or .* --streaming"):
            open_collection(str(data))


def test_unknown_columns_are_named(paired: Path) -> None:
    (paired / "a.csv").write_text("image,kind\na,x\n")
    with pytest.raises(UserError, match=r"no column 'kinds'; did you mean kind\?"):
        open_collection(str(paired), columns="label=kinds")
    with pytest.raises(UserError, match=r"unknown 'lable'; expected image, label"):
        open_collection(str(paired), columns="lable=kind")


def test_columns_without_a_table_are_an_error(paired: Path) -> None:
    for data in ("synthetic", str(paired)):
        with pytest.raises(UserError, match=r"--columns label=kind: "):
            open_collection(data, columns="label=kind")


def test_classes_called_masks_or_images_are_rejected(tmp_path: Path, images) -> None:
    images(tmp_path / "a" / "masks", ["1.jpg"])
    images(tmp_path / "a" / "nevus", ["2.jpg"])
    with pytest.raises(UserError, match=r"1 of 1 masks have no image.*if masks is a class, rename it"):
        open_collection(str(tmp_path / "a"))
    images(tmp_path / "b" / "images", ["1.jpg"])
    images(tmp_path / "b" / "nevus", ["2.jpg"])
    with pytest.raises(UserError, match=r"images is not a class; rename it"):
        open_collection(str(tmp_path / "b"))


def test_lesions_keep_images_together_whose_patient_is_not_known(tmp_path: Path, images) -> None:
    images(tmp_path, ["a.jpg", "b.jpg", "c.jpg", "d.jpg"])
    rows = ["image,patient_id,lesion_id", "a.jpg,,L1", "b.jpg,,L1", "c.jpg,P1,L2", "d.jpg,P1,L3"]
    (tmp_path / "table.csv").write_text("\n".join(rows))
    groups = [record.group for record in open_collection(str(tmp_path)).records]
    assert groups == ["lesion_id L1", "lesion_id L1", "patient_id P1", "patient_id P1"]
    named = open_collection(str(tmp_path), columns="group=lesion_id").records
    assert [record.group for record in named] == ["L1", "L1", "L2", "L3"]


@pytest.mark.parametrize("mark", ["NA", "nan", "", "N/A", "None", "#N/A", "NULL"])
def test_marks_of_unknown_values_are_no_classes(tmp_path: Path, images, mark) -> None:
    images(tmp_path, ["a.jpg", "b.jpg", "c.jpg"])
    (tmp_path / "LABELS.CSV").write_text(f"image,label\na.jpg,nevus\nb.jpg,{mark}\nc.jpg,melanoma\n")
    collection = open_collection(str(tmp_path))
    assert collection.classes == ("melanoma", "nevus")
    assert [record.label for record in collection.records] == [1, None, 0]


def test_missing_numbers_of_a_parquet_table_are_no_class(tmp_path: Path, images) -> None:
    images(tmp_path, ["a.jpg", "b.jpg", "c.jpg"])
    table = pa.table({"image": ["a.jpg", "b.jpg", "c.jpg"], "label": [0.0, float("nan"), 1.0]})
    pyarrow.parquet.write_table(table, tmp_path / "labels.parquet")
    assert open_collection(str(tmp_path)).classes == ("0", "1")


def test_a_cell_that_is_too_long_for_a_file_is_named(tmp_path: Path, images) -> None:
    images(tmp_path, ["a.jpg"])
    (tmp_path / "table.csv").write_text(f"image,label\n{'x' * 300},nevus\n")
    with pytest.raises(UserError, match="line 2, column image: expected an image"):
        open_collection(str(tmp_path))


def test_two_columns_of_one_name_are_reported(tmp_path: Path, images) -> None:
    images(tmp_path, ["a.jpg"])
    (tmp_path / "table.csv").write_text("image,label,label\na.jpg,nevus,melanoma\n")
    with pytest.raises(UserError, match="duplicate column label"):
        open_collection(str(tmp_path))


def test_images_elsewhere_are_named_by_their_paths(tmp_path: Path, images) -> None:
    images(tmp_path / "photos", ["a.jpg", "b.jpg"])
    (tmp_path / "study").mkdir()
    table = tmp_path / "study" / "table.csv"
    table.write_text(f"image\n../photos/a.jpg\n{tmp_path}/photos/b.jpg\n")
    records = open_collection(str(table)).records
    assert [record.id for record in records] == [f"{tmp_path}/photos/{name}.jpg"[1:] for name in "ab"]
    assert all(record.image.read().size for record in records)


@pytest.mark.parametrize(
    ("more", "message"),
    [("masks/a_mask.png", "two masks of one image: .*a.png and .*a_mask.png"),
     ("images/a.png", "two images of one mask: .*a.jpg and .*a.png")],
)  # fmt: skip
def test_two_files_of_one_name_are_reported(paired: Path, images, more: str, message: str) -> None:
    images((paired / more).parent, [Path(more).name])
    with pytest.raises(UserError, match=message):
        open_collection(str(paired))


def test_masks_among_the_images_are_reported(tmp_path: Path, images) -> None:
    images(tmp_path / "all", ["a.jpg", "a_Segmentation.png", "b.jpg"])
    with pytest.raises(UserError, match="all holds masks among its images, such as a_Segmentation: move them"):
        open_collection(str(tmp_path))


@pytest.mark.parametrize("listed", ["a.jpg,mel", "train/a.jpg,mel"])
def test_a_table_without_splits_leaves_them_to_the_folders(tmp_path: Path, images, listed: str) -> None:
    images(tmp_path / "train", ["a.jpg", "b.jpg"])
    images(tmp_path / "test", ["c.jpg"])
    (tmp_path / "labels.csv").write_text(f"image,label\n{listed}\nb.jpg,nv\nc.jpg,nv\n")
    for data in (tmp_path, tmp_path / "labels.csv"):
        assert {id: record.split for id, record in by_id(open_collection(str(data))).items()} == {
            "test/c.jpg": "test", "train/a.jpg": "train", "train/b.jpg": "train",
        }  # fmt: skip


def test_masks_among_images_that_a_table_does_not_list_are_reported(tmp_path: Path, images) -> None:
    images(tmp_path, ["a.jpg", "a_mask.png", "b.jpg"])
    (tmp_path / "labels.csv").write_text("image,label\na.jpg,nv\nb.jpg,mel\n")
    with pytest.raises(UserError, match="holds masks among its images, such as a_mask"):
        open_collection(str(tmp_path))


def test_a_folder_ground_truth_holds_masks(tmp_path: Path, images, masks) -> None:
    images(tmp_path / "images", ["a.jpg"])
    masks(tmp_path / "GroundTruth", ["a.png"])
    (record,) = open_collection(str(tmp_path)).records
    assert record.mask.path == tmp_path / "GroundTruth" / "a.png"


def test_features_written_beside_the_images_are_no_table_of_theirs(tmp_path: Path, images) -> None:
    images(tmp_path / "nevus", ["a.jpg"])
    images(tmp_path / "melanoma", ["b.jpg"])
    table = pa.table({"image": ["nevus/a.jpg"], "label": ["nevus"]})
    pa.parquet.write_table(table.replace_schema_metadata({OUTPUT_KEY: b"0"}), tmp_path / "features.parquet")
    assert [record.label for record in open_collection(str(tmp_path)).records] == [0, 1]


def test_a_table_may_be_separated_by_semicolons(tmp_path: Path, images) -> None:
    images(tmp_path, ["a.jpg", "b.jpg"])
    (tmp_path / "labels.csv").write_text("\ufeffimage;dx;note\na.jpg;nv;flat, brown\nb.jpg;mel;\n")
    assert open_collection(str(tmp_path)).classes == ("mel", "nv")


@pytest.mark.parametrize("cell", ["images\\Läsion.jpg", "images/Läsion.jpg", "Läsion.jpg", "images/Läsion"])
def test_names_as_windows_and_macos_write_them_are_found(tmp_path: Path, images, cell: str) -> None:
    images(tmp_path / "images", [unicodedata.normalize("NFD", "Läsion.jpg")])
    (tmp_path / "labels.csv").write_text(f"image,label\n{unicodedata.normalize('NFC', cell)},nv\n")
    (record,) = open_collection(str(tmp_path / "labels.csv")).records
    assert record.image.path.is_file()
