"""Hugging Face datasets on disk, and what is said where there is none."""

import io
import pickle
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image

from gravis_triton.data.cache.images import cached_images
from gravis_triton.data.datasets.attributes import read_attributes
from gravis_triton.data.datasets.open import open_collection
from gravis_triton.errors import UserError


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf-cache")
    datasets.disable_progress_bars()


def image(shade: int, mode: str = "RGB") -> dict[str, bytes | None]:
    stream = io.BytesIO()
    Image.fromarray(np.full((20, 30, 3), shade, np.uint8)).convert(mode).save(stream, "PNG")
    return {"bytes": stream.getvalue(), "path": None}


def parquet(folder: Path, split: str, columns: dict[str, list], features: dict) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    data = datasets.Dataset.from_dict(columns, features=datasets.Features(features))
    data.to_parquet(folder / f"{split}-00000-of-00001.parquet")


def test_parquet_with_splits_class_labels_lesions_and_masks(tmp_path: Path) -> None:
    features = {
        "mask": datasets.Image(),
        "image": datasets.Image(),
        "label": datasets.ClassLabel(names=["nevus", "melanoma"]),
        "lesion_id": datasets.Value("string"),
    }
    for split, shades in (("train", [10, 20, 30]), ("validation", [40]), ("test", [50])):
        columns = {
            "mask": [image(255, "L") for _ in shades],
            "image": [image(shade) for shade in shades],
            "label": [(shade // 10) % 2 for shade in shades],
            "lesion_id": [f"L{shade}" for shade in shades],
        }
        parquet(tmp_path / "data", split, columns, features)
    collection = open_collection(f"hf:{tmp_path / 'data'}")
    assert collection.classes == ("nevus", "melanoma")
    assert [(r.id, r.split, r.label, r.group) for r in collection.records] == [
        ("train/000000", "train", 1, "L10"),
        ("train/000001", "train", 0, "L20"),
        ("train/000002", "train", 1, "L30"),
        ("validation/000000", "validation", 0, "L40"),
        ("test/000000", "test", 1, "L50"),
    ]
    record = pickle.loads(pickle.dumps(collection.records[2]))
    assert record.image.read().getpixel((0, 0)) == (30, 30, 30)
    assert (record.mask.read().mode, record.mask.read().getpixel((0, 0))) == ("L", 255)
    images = cached_images(collection.records, short_side=10, directory=tmp_path / "cache", workers=0)
    assert [int(image[0, 0, 0]) for image in images] == [10, 20, 30, 40, 50]


def test_label_column_is_preferred_to_other_classes_and_minus_one_is_unknown(tmp_path: Path) -> None:
    features = {
        "image": datasets.Image(),
        "sex": datasets.ClassLabel(names=["female", "male"]),
        "label": datasets.ClassLabel(names=["nevus", "melanoma"]),
    }
    parquet(
        tmp_path / "data",
        "train",
        {"image": [image(1), image(2)], "sex": [0, 0], "label": [1, -1]},
        features,
    )
    collection = open_collection(f"hf:{tmp_path / 'data'}")
    assert [record.label for record in collection.records] == [1, None]


def test_splits_that_number_the_classes_differently_keep_their_names(tmp_path: Path) -> None:
    splits = {}
    for split, names in {"train": ["bcc", "mel", "nv"], "test": ["mel", "nv", "scc"]}.items():
        features = datasets.Features({"image": datasets.Image(), "dx": datasets.ClassLabel(names=names)})
        columns = {"image": [image(9)] * 4, "dx": [0, 1, 2, -1]}
        splits[split] = datasets.Dataset.from_dict(columns, features=features)
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "saved")
    collection = open_collection(f"hf:{tmp_path / 'saved'}")
    names = [None if r.label is None else collection.classes[r.label] for r in collection.records]
    assert names == ["bcc", "mel", "nv", None, "mel", "nv", "scc", None]


def test_lesions_stand_in_for_patients_that_are_not_known(tmp_path: Path) -> None:
    text = datasets.Value("string")
    features = {"image": datasets.Image(), "patient_id": text, "lesion_id": text}
    columns = {
        "image": [image(9)] * 4,
        "patient_id": [None, "", "P", None],
        "lesion_id": ["L", "L", "M", "M"],
    }
    parquet(tmp_path, "train", columns, features)
    assert [r.group for r in open_collection(f"hf:{tmp_path}").records] == [
        "lesion_id L", "lesion_id L", "patient_id P", "patient_id P",
    ]  # fmt: skip


def test_text_labels_and_own_image_ids(tmp_path: Path) -> None:
    features = {
        "img": datasets.Image(),
        "dx": datasets.Value("string"),
        "image_id": datasets.Value("string"),
    }
    columns = {
        "img": [image(1), image(2), image(3)],
        "dx": ["nv", None, "mel"],
        "image_id": ["ISIC_1", "ISIC_2", "ISIC_3"],
    }
    parquet(tmp_path / "data", "train", columns, features)
    collection = open_collection(f"hf:{tmp_path / 'data'}")
    assert collection.classes == ("mel", "nv")
    assert [(r.id, r.label) for r in collection.records] == [("ISIC_1", 1), ("ISIC_2", None), ("ISIC_3", 0)]


def test_other_columns_of_labels_and_spellings_of_one_class_are_named(tmp_path: Path) -> None:
    features = {"image": datasets.Image(), "dx": datasets.Value("string"), "target": datasets.Value("int64")}
    columns = {"image": [image(number) for number in range(3)], "dx": ["Nevus", "nevus", "nevus"], "target": [0, 1, 0]}
    parquet(tmp_path / "data", "train", columns, features)
    collection = open_collection(f"hf:{tmp_path / 'data'}")
    assert collection.classes == ("nevus",)
    assert collection.notes == (
        "columns: image = image, label = dx",
        "read as one class each, but for capitals: Nevus and nevus",
        "not read as labels: target",
    )


def test_whole_numbers_beside_empty_cells_are_classes_and_fractions_are_reported(tmp_path: Path) -> None:
    features = {"image": datasets.Image(), "label": datasets.Value("float64")}
    for name, labels in (("whole", [1.0, None, 0.0, float("nan")]), ("fractions", [0.5, 1.0, 0.0, 0.0])):
        columns = {"image": [image(number) for number in range(4)], "label": labels}
        parquet(tmp_path / name, "train", columns, features)
    collection = open_collection(f"hf:{tmp_path / 'whole'}")
    assert collection.classes == ("0", "1")
    assert [record.label for record in collection.records] == [1, None, 0, None]
    with pytest.raises(UserError, match=r"the column label has fractions such as 0\.5, not classes"):
        open_collection(f"hf:{tmp_path / 'fractions'}")


def test_image_folder(tmp_path: Path, images) -> None:
    for split in ("train", "test"):
        for name in ("melanoma", "nevus"):
            images(tmp_path / "data" / split / name, ["1.jpg", "2.jpg"])
    collection = open_collection(f"hf:{tmp_path / 'data'}")
    assert collection.classes == ("melanoma", "nevus")
    assert [(r.split, r.label) for r in collection.records] == [
        (split, label) for split in ("train", "test") for label in (0, 0, 1, 1)
    ]
    assert collection.records[0].image.read().size == (12, 8)


def test_saved_to_disk(tmp_path: Path) -> None:
    data = datasets.Dataset.from_dict({"image": [image(7)]}, features=datasets.Features({"image": datasets.Image()}))
    data.save_to_disk(tmp_path / "data")
    collection = open_collection(f"hf:{tmp_path / 'data'}")
    assert (collection.classes, collection.records[0].split) == ((), None)
    assert collection.records[0].image.read().getpixel((0, 0)) == (7, 7, 7)


def test_no_image_column_is_reported_with_the_columns(tmp_path: Path) -> None:
    parquet(tmp_path / "data", "train", {"text": ["a"]}, {"text": datasets.Value("string")})
    with pytest.raises(UserError, match=r"has no image column; its columns are text"):
        open_collection(f"hf:{tmp_path / 'data'}")


def test_an_empty_directory_is_reported(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with pytest.raises(UserError, match=r"data cannot be loaded: .*doesn't contain any data files"):
        open_collection(f"hf:{tmp_path / 'data'}")


def test_without_network_one_line_gives_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(path: str, revision: str | None) -> None:
        assert (path, revision) == ("someone/lesions", "v2")
        raise ConnectionError("Couldn't reach the Hub\nand more lines")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(UserError) as raised:
        open_collection("hf:someone/lesions@v2")
    assert str(raised.value) == (
        "hf:someone/lesions@v2 cannot be loaded: Couldn't reach the Hub "
        "(the hub must be reachable; a directory may be given after hf: instead)"
    )


def test_a_name_that_is_no_data_set_is_reported() -> None:
    with pytest.raises(UserError, match=r"hf:lesions: expected hf:OWNER/NAME"):
        open_collection("hf:lesions")


def test_a_mask_is_turned_as_the_photograph_in_its_row(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    stored = Image.new("L", (30, 20), 0)
    stored.paste(255, (0, 0, 12, 8))
    cells = []
    for options in ({"exif": exif}, {}):
        stream = io.BytesIO()
        stored.save(stream, "PNG", **options)
        cells.append({"bytes": stream.getvalue(), "path": None})
    columns = {"image": cells[:1], "mask": cells[1:]}
    parquet(tmp_path / "data", "train", columns, {"image": datasets.Image(), "mask": datasets.Image()})
    (record,) = open_collection(f"hf:{tmp_path / 'data'}").records
    assert record.mask is not None
    upright = np.asarray(record.image.read())[:, :, 0]
    assert upright.shape == (30, 20)
    assert np.array_equal(np.asarray(record.mask.read()), upright)


def test_plain_columns_are_attributes_of_the_images(tmp_path: Path) -> None:
    features = {
        "image": datasets.Image(),
        "sex": datasets.ClassLabel(names=["female", "male"]),
        "age": datasets.Value("int64"),
    }
    parquet(tmp_path, "test", {"image": [image(1), image(2)], "sex": [1, 0], "age": [30, None]}, features)
    data = f"hf:{tmp_path}"
    ids = [record.id for record in open_collection(data).records]
    assert read_attributes(data, ["sex", "age"], ids) == {
        "sex": {ids[0]: "male", ids[1]: "female"},
        "age": {ids[0]: "30"},
    }


def test_a_column_of_encoded_images_need_not_be_declared_as_images(tmp_path: Path) -> None:
    content = io.BytesIO()
    Image.new("RGB", (6, 4), (9, 99, 199)).save(content, "PNG")
    table = pa.table({"image": [content.getvalue()] * 3, "dx": ["nv", "mel", "unknown"], "lesion_id": ["1", "1", "-1"]})
    pyarrow.parquet.write_table(table, tmp_path / "train.parquet")
    collection = open_collection(f"hf:{tmp_path}")
    assert collection.classes == ("mel", "nv")
    assert [(record.label, record.group) for record in collection.records] == [
        (1, "1"),
        (0, "1"),
        (None, None),
    ]
    assert collection.notes == (
        "columns: image = image, label = dx",
        "groups: 2 images of 1 lesion_id, the largest group '1' with 2 images; 1 images have none",
    )
    assert collection.records[1].image.read().getpixel((2, 2)) == (9, 99, 199)


def test_images_that_are_not_declared_as_images_are_read(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    cells = {"image": [image(10), image(20)], "label": ["nv", "mel"]}
    pa.parquet.write_table(pa.table(cells), tmp_path / "data" / "train-00000-of-00001.parquet")
    collection = open_collection(f"hf:{tmp_path / 'data'}")
    assert [record.image.read().getpixel((0, 0))[0] for record in collection.records] == [10, 20]
