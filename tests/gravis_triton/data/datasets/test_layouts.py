"""The data sets of layouts.yaml, each in miniature, as it is handed out."""

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from gravis_triton.data.datasets.layouts import layouts
from gravis_triton.data.datasets.open import open_collection
from gravis_triton.data.datasets.records import Collection
from gravis_triton.errors import UserError


def write(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def facts(collection: Collection) -> list[tuple[str, str | None, str | None, str | None]]:
    """(id, class, group, split) of each image."""
    return [
        (one.id, None if one.label is None else collection.classes[one.label], one.group, one.split)
        for one in collection.records
    ]


KAGGLE_2024 = (
    "isic_id,target,patient_id,age_approx,lesion_id,iddx_1",
    "ISIC_1,0,IP_1,45.0,,Benign",
    "ISIC_2,1,IP_1,45.0,IL_1,Malignant",
    "ISIC_3,0,IP_2,50.0,,Benign",
)
FACTS_2024 = [
    ("ISIC_1", "benign", "patient_id IP_1", None),
    ("ISIC_2", "malignant", "patient_id IP_1", None),
    ("ISIC_3", "benign", "patient_id IP_2", None),
]


def test_isic_2024_of_kaggle(tmp_path: Path, images) -> None:
    images(tmp_path / "train-image" / "image", ["ISIC_1.jpg", "ISIC_2.jpg", "ISIC_3.jpg"])
    write(tmp_path / "train-metadata.csv", *KAGGLE_2024)
    write(tmp_path / "test-metadata.csv", "isic_id,patient_id", "ISIC_9,IP_9")
    write(tmp_path / "sample_submission.csv", "isic_id,target", "ISIC_9,0.3")
    collection = open_collection(str(tmp_path))
    assert (collection.name, collection.scored_classes) == ("ISIC 2024", ("malignant",))
    assert facts(collection) == FACTS_2024
    assert collection.notes == (
        "read as ISIC 2024 (CC BY-NC 4.0)",
        "images: train-image/image",
        "labels: train-metadata.csv, target",
        "groups: 3 images of 2 patient_id and 1 lesion_id, the largest group 'patient_id IP_1' with 2 images",
        "tables that are not read: sample_submission.csv, test-metadata.csv",
    )


def test_isic_2024_of_kaggle_as_hdf5_alone(tmp_path: Path, images) -> None:
    h5py = pytest.importorskip("h5py")
    images(tmp_path / "jpeg", ["ISIC_1.jpg", "ISIC_2.jpg", "ISIC_3.jpg"])
    with h5py.File(tmp_path / "train-image.hdf5", "w") as file:
        for path in (tmp_path / "jpeg").iterdir():
            file[path.stem] = np.void(path.read_bytes())
            path.unlink()
    write(tmp_path / "train-metadata.csv", *KAGGLE_2024)
    collection = open_collection(str(tmp_path))
    assert facts(collection) == FACTS_2024
    image = collection.records[0].image
    assert (image.read().size, image.size(), image.read().mode) == ((12, 8), (12, 8), "RGB")
    assert image.fingerprint() != collection.records[1].image.fingerprint()
    write(tmp_path / "other" / "train-image.hdf5", "no HDF5")
    write(tmp_path / "other" / "train-metadata.csv", *KAGGLE_2024)
    with pytest.raises(UserError, match="cannot be read as an HDF5 file"):
        open_collection(str(tmp_path / "other"))


def test_isic_2024_of_the_challenge(tmp_path: Path, images) -> None:
    images(tmp_path / "ISIC_2024_Training_Input", ["ISIC_1.jpg", "ISIC_2.jpg", "ISIC_3.jpg"])
    write(tmp_path / "ISIC_2024_Training_Input" / "metadata.csv", "isic_id,patient_id", "ISIC_1,IP_1", "ISIC_2,IP_1",
          "ISIC_3,IP_2")  # fmt: skip
    truth = ("isic_id,malignant", "ISIC_1,0.0", "ISIC_2,1.0", "ISIC_3,0.0")
    write(tmp_path / "ISIC_2024_Training_GroundTruth.csv", *truth)
    write(tmp_path / "ISIC_2024_Training_Supplement.csv", "isic_id,lesion_id,iddx_1", "ISIC_2,IL_1,Malignant")
    assert facts(open_collection(str(tmp_path))) == FACTS_2024


@pytest.fixture
def milk10k(tmp_path: Path, images) -> Path:
    for number in (1, 2):
        images(
            tmp_path / "MILK10k_Training_Input" / f"IL_{number}",
            [f"ISIC_{number}1.jpg", f"ISIC_{number}2.jpg"],
        )
    header = "lesion_id,AKIEC,BCC,BEN_OTH,BKL,DF,INF,MAL_OTH,MEL,NV,SCCKA,VASC"
    one = ("IL_1" + ",0.0" * 7 + ",1.0" + ",0.0" * 3, "IL_2" + ",0.0" * 8 + ",1.0" + ",0.0" * 2)
    write(tmp_path / "MILK10k_Training_GroundTruth.csv", header, *one)
    kinds = [
        f"IL_{n},{kind},ISIC_{n}{k}" for n in (1, 2) for k, kind in ((1, "clinical: close-up"), (2, "dermoscopic"))
    ]
    write(tmp_path / "MILK10k_Training_Metadata.csv", "lesion_id,image_type,isic_id", *kinds)
    return tmp_path


def test_milk10k_labels_lesions_by_folder(milk10k: Path) -> None:
    assert facts(open_collection(str(milk10k))) == [
        ("ISIC_11", "MEL", "IL_1", "train"),
        ("ISIC_12", "MEL", "IL_1", "train"),
        ("ISIC_21", "NV", "IL_2", "train"),
        ("ISIC_22", "NV", "IL_2", "train"),
    ]


def test_milk10k_of_one_modality(milk10k: Path) -> None:
    for modality, ids in (("dermoscopic", ["ISIC_12", "ISIC_22"]), ("clinical", ["ISIC_11", "ISIC_21"])):
        assert [one.id for one in open_collection(str(milk10k), modality=modality).records] == ids


def test_milk10k_images_alone_are_lesions_without_classes(milk10k: Path) -> None:
    collection = open_collection(str(milk10k / "MILK10k_Training_Input"))
    assert [record.group for record in collection.records] == ["IL_1", "IL_1", "IL_2", "IL_2"]
    for file in milk10k.glob("*.csv"):
        file.unlink()
    assert open_collection(str(milk10k)).classes == ()
    with pytest.raises(UserError, match=r"--modality clinical: .* has no MILK10k_Training_Metadata\.csv"):
        open_collection(str(milk10k), modality="clinical")


def test_bcn20000(tmp_path: Path, images) -> None:
    images(tmp_path / "BCN_20k_train" / "bcn_20k_train", ["BCN_1.jpg", "BCN_2.jpg"])  # unpacked into a folder
    images(tmp_path / "BCN_20k_test", ["BCN_9.jpg"])
    header = "bcn_filename,age_approx,diagnosis,lesion_id,split"
    write(tmp_path / "bcn_20k_train.csv", header, "BCN_1.jpg,55,NV,L1,train", "BCN_2.jpg,55,MEL,,train")
    write(tmp_path / "bcn_20k_test.csv", "bcn_filename,age_approx,split", "BCN_9.jpg,50,test")
    assert facts(open_collection(str(tmp_path))) == [
        ("BCN_1", "NV", "L1", "train"),
        ("BCN_2", "MEL", None, "train"),
        ("BCN_9", None, None, "test"),
    ]


def test_ph2(tmp_path: Path, images, masks) -> None:
    root = tmp_path / "PH2Dataset"
    for name in ("IMD002", "IMD003"):
        case = root / "PH2 Dataset images" / name
        images(case / f"{name}_Dermoscopic_Image", [f"{name}.bmp"])
        masks(case / f"{name}_lesion", [f"{name}_lesion.bmp"])
        masks(case / f"{name}_roi", [f"{name}_R1_Label4.bmp"])
    header = "|| Name   ||   Histological Diagnosis   || Clinical Diagnosis ||  Asymmetry | Colors ||"
    rows = (
        "|| IMD002 ||      ||   0  || 1 | 3 ||",
        "|| IMD003 || Melanoma  ||   2  || 0 | 4 ||",
        "",
        "Legends:",
        "0 -",
    )
    write(root / "PH2_dataset.txt", header, *rows)
    collection = open_collection(str(root))
    assert facts(collection) == [("IMD002", "common nevus", None, None), ("IMD003", "melanoma", None, None)]
    assert [record.mask.path.name for record in collection.records] == [
        "IMD002_lesion.bmp",
        "IMD003_lesion.bmp",
    ]


def test_a_spreadsheet_is_read_from_its_header_on(tmp_path: Path, images) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    images(tmp_path, ["a.png", "b.png"])
    book = openpyxl.Workbook()
    for row in ([], ["image", "label", "age\nin years"], ["a", "mel", 55.0], [], ["b", "nv", None]):
        book.active.append(row)
    book.save(tmp_path / "table.xlsx")
    assert facts(open_collection(str(tmp_path / "table.xlsx"))) == [
        ("a.png", "mel", None, None),
        ("b.png", "nv", None, None),
    ]
    assert open_collection(str(tmp_path)).notes == ("tables that are not read: table.xlsx (give one as --data)",)
    book.active["A5"] = "c"
    book.save(tmp_path / "table.xlsx")
    with pytest.raises(UserError, match=r"table\.xlsx, line 5, column image"):
        open_collection(str(tmp_path / "table.xlsx"))
    (tmp_path / "table.xlsx").write_text("no zip")
    with pytest.raises(UserError, match="cannot be read as a spreadsheet"):
        open_collection(str(tmp_path / "table.xlsx"))


def test_a_spreadsheet_without_openpyxl_is_one_clear_line(tmp_path: Path, images, monkeypatch) -> None:
    images(tmp_path, ["a.png"])
    (tmp_path / "table.xlsx").write_text("")
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(
        UserError, match=r"table\.xlsx needs openpyxl: pip install 'gravis-triton\[xlsx\]', or save it as CSV"
    ):
        open_collection(str(tmp_path / "table.xlsx"))


def test_pad_ufes_20(tmp_path: Path, images) -> None:
    images(tmp_path / "images" / "imgs_part_1", ["PAT_1_10_7.png", "PAT_2_10_8.png"])
    header = "patient_id,lesion_id,smoke,diagnostic,img_id,biopsed"
    write(
        tmp_path / "metadata.csv",
        header,
        "PAT_1,10,False,NEV,PAT_1_10_7.png,True",
        "PAT_2,10,,MEL,PAT_2_10_8.png,True",
    )
    assert facts(open_collection(str(tmp_path))) == [
        ("images/imgs_part_1/PAT_1_10_7.png", "NEV", "patient_id PAT_1", None),
        ("images/imgs_part_1/PAT_2_10_8.png", "MEL", "patient_id PAT_2", None),
    ]


def test_a_data_set_of_one_modality_is_read_whole_or_not_at_all(tmp_path: Path, images) -> None:
    images(tmp_path, ["PAT_1.png"])
    write(tmp_path / "metadata.csv", "patient_id,lesion_id,diagnostic,img_id", "PAT_1,10,NEV,PAT_1.png")
    assert len(open_collection(str(tmp_path), modality="clinical").records) == 1
    with pytest.raises(UserError, match="--modality dermoscopic: the images of PAD-UFES-20 are clinical"):
        open_collection(str(tmp_path), modality="dermoscopic")


def test_ddi(tmp_path: Path, images) -> None:
    images(tmp_path, ["000001.png", "000002.png"])
    rows = (
        ",DDI_ID,DDI_file,skin_tone,malignant,disease",
        "0,1,000001.png,56,True,melanoma",
        "1,2,000002.png,12,False,nevus",
    )
    write(tmp_path / "ddi_metadata.csv", *rows)
    assert facts(open_collection(str(tmp_path))) == [
        ("000001.png", "malignant", None, None),
        ("000002.png", "benign", None, None),
    ]
    assert open_collection(str(tmp_path), columns="label=disease").classes == ("melanoma", "nevus")


@pytest.fixture
def derm7pt(tmp_path: Path, images) -> Path:
    images(tmp_path / "images" / "NEL", ["NEL000.jpg", "Nel000.jpg", "NEL001.jpg", "Nel001.jpg"])
    rows = (
        "1,clark nevus,NEL/Nel000.jpg,NEL/NEL000.jpg",
        "2,melanoma (in situ),NEL/Nel001.jpg,NEL/NEL001.jpg",
    )
    write(tmp_path / "meta" / "meta.csv", "case_num,diagnosis,clinic,derm", *rows)
    for name, row in (("train", 0), ("test", 1)):
        write(tmp_path / "meta" / f"{name}_indexes.csv", "indexes", str(row))
    return tmp_path


def test_derm7pt_has_two_images_a_case_and_splits_by_row(derm7pt: Path) -> None:
    assert facts(open_collection(str(derm7pt))) == [
        ("images/NEL/NEL000.jpg", "clark nevus", "1", "train"),
        ("images/NEL/NEL001.jpg", "melanoma (in situ)", "2", "test"),
        ("images/NEL/Nel000.jpg", "clark nevus", "1", "train"),
        ("images/NEL/Nel001.jpg", "melanoma (in situ)", "2", "test"),
    ]
    clinical = open_collection(str(derm7pt), modality="clinical")
    assert [record.id for record in clinical.records] == ["images/NEL/Nel000.jpg", "images/NEL/Nel001.jpg"]


def test_fitzpatrick17k(tmp_path: Path, images) -> None:
    images(tmp_path / "images", ["5e82.jpg", "fb3e.jpg"])
    rows = (
        "5e82,3,psoriasis,inflammatory,non-neoplastic",
        "fb3e,-1,malignant melanoma,malignant melanoma,malignant",
    )
    header = "md5hash,fitzpatrick_scale,label,nine_partition_label,three_partition_label"
    write(tmp_path / "fitzpatrick17k.csv", header, *rows)
    collection = open_collection(str(tmp_path))
    assert (collection.name, collection.classes) == ("Fitzpatrick17k", ("malignant melanoma", "psoriasis"))
    by_part = open_collection(str(tmp_path), columns="label=three_partition_label")
    assert by_part.classes == ("malignant", "non-neoplastic")


def test_scin(tmp_path: Path, images) -> None:
    images(tmp_path / "images", ["-1.png", "-2.png", "3.png"])
    rows = ("11,dataset/images/-1.png,dataset/images/-2.png,", "12,dataset/images/3.png,,")
    write(tmp_path / "scin_cases.csv", "case_id,image_1_path,image_2_path,image_3_path", *rows)
    label = "\"{'Eczema': 0.67, 'Acne': 0.33}\""
    write(tmp_path / "scin_labels.csv", "case_id,weighted_skin_condition_label", f"11,{label}", "12,{}")
    assert sorted(facts(open_collection(str(tmp_path)))) == [
        ("images/-1.png", "Eczema", "11", None),
        ("images/-2.png", "Eczema", "11", None),
        ("images/3.png", None, "12", None),
    ]


def test_downloads_of_isic_cli(tmp_path: Path, images) -> None:
    images(tmp_path, ["ISIC_1.jpg", "ISIC_2.jpg"])
    header = "isic_id,attribution,diagnosis_1,diagnosis_2,diagnosis_3,lesion_id"
    write(
        tmp_path / "metadata.csv",
        header,
        "ISIC_1,a,Benign,b,Nevus,IL_1",
        'ISIC_2,a,Malignant,m,"Melanoma, NOS",',
    )
    assert facts(open_collection(str(tmp_path))) == [
        ("ISIC_1.jpg", "Benign", "IL_1", None),
        ("ISIC_2.jpg", "Malignant", None, None),
    ]
    assert open_collection(str(tmp_path), columns="label=diagnosis_3").classes == ("Melanoma, NOS", "Nevus")


def test_isic_2019_of_kaggle(tmp_path: Path, images) -> None:
    images(tmp_path / "ISIC_2019_Training_Input" / "ISIC_2019_Training_Input", ["ISIC_1.jpg"])
    write(
        tmp_path / "ISIC_2019_Training_GroundTruth.csv",
        "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK",
        "ISIC_1,1,0,0,0,0,0,0,0,0",
    )
    assert facts(open_collection(str(tmp_path))) == [("ISIC_1", "MEL", None, "train")]


def test_isic_2020_of_kaggle(tmp_path: Path, images) -> None:
    images(tmp_path / "jpeg" / "train", ["ISIC_1.jpg", "ISIC_2.jpg"])
    images(tmp_path / "jpeg" / "test", ["ISIC_9.jpg"])
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "ISIC_1.dcm").touch()
    header = "image_name,patient_id,sex,diagnosis,benign_malignant,target"
    write(
        tmp_path / "train.csv",
        header,
        "ISIC_1,IP_1,male,unknown,benign,0",
        "ISIC_2,IP_2,male,melanoma,malignant,1",
    )
    write(tmp_path / "test.csv", "image_name,patient_id,sex", "ISIC_9,IP_9,male")
    assert facts(open_collection(str(tmp_path))) == [
        ("ISIC_1", "benign", "IP_1", "train"),
        ("ISIC_2", "malignant", "IP_2", "train"),
        ("ISIC_9", None, "IP_9", "test"),
    ]


def test_every_layout_has_a_license_and_a_source() -> None:
    assert all(one.license and one.source.startswith("https://") for one in layouts())
    assert max(Counter(one.name for one in layouts()).values()) == 1
