"""Diagnoses that datasets have in common, and the images of one dataset as the test set of another."""

import pytest

from gravis_triton.data import split_collection
from gravis_triton.data.datasets.common import common_classes, external_test
from gravis_triton.data.datasets.layouts import layouts
from gravis_triton.data.datasets.records import Collection, Record
from gravis_triton.data.datasets.references import SyntheticImage
from gravis_triton.errors import UserError


def collection(name: str, classes: tuple[str, ...], *rows: tuple[int | None, str | None, str | None]) -> Collection:
    """rows: label, group, split of each image."""
    records = [
        Record(f"{number}", SyntheticImage(0, number), label, group, split)
        for number, (label, group, split) in enumerate(rows)
    ]
    return Collection(name, tuple(records), classes, classes)


def test_names_of_all_data_sets_map_to_the_same_diagnoses() -> None:
    names = ("NV", "AKIEC", "seborrheic_keratosis", "INF", "SCCKA", "clark nevus", "melanoma (in situ)")
    common = common_classes(collection("c", names, *[(label, None, None) for label in range(7)]))
    assert common.classes == ("melanoma", "nevus", "AK", "BKL", "SCC")
    assert [None if r.label is None else common.classes[r.label] for r in common.records] == [
        "nevus", "AK", "BKL", None, "SCC", "nevus", "melanoma",
    ]  # fmt: skip
    assert "without a label: 1 images of INF" in common.notes
    assert common.notes[0].startswith("classes: NV is nevus, AKIEC is AK, seborrheic_keratosis is BKL")


@pytest.mark.parametrize("name", ["ISIC 2017", "ISIC 2018", "ISIC 2019", "HAM10000", "MILK10k", "BCN20000", "PH2"])
def test_the_named_data_sets_have_melanoma_and_nevus_in_common(name: str) -> None:
    (layout,) = [layout for layout in layouts() if layout.name == name]
    assert {"melanoma", "nevus"} <= set(common_classes(collection(name, layout.classes)).classes)


def test_malignant_is_no_common_diagnosis() -> None:
    with pytest.raises(UserError, match=r"none of the classes of ISIC 2020 \(benign, malignant\) is melanoma, nevus"):
        common_classes(collection("ISIC 2020", ("benign", "malignant")))


def test_all_labeled_images_of_another_dataset_are_the_test_set() -> None:
    a = collection("A", ("mel", "nv", "bcc"), *[(n % 3, f"L{n}", "test" if n > 8 else "train") for n in range(12)])
    b = collection("B", ("df", "nv", "mel"), (2, "L0", "train"), (1, None, "test"), (0, None, None), (None, None, None))
    both = external_test(a, b)
    assert both.name == "A, tested on B"
    tested = [record for record in both.records if record.split == "test"]
    assert [(record.id, both.classes[record.label], record.group) for record in tested] == [
        ("B/0", "mel", "B: L0"),
        ("B/1", "nv", None),
    ]
    assert "left out: the 3 test images of A" in both.notes
    assert "without a label: 1 images of df" in both.notes
    split = split_collection(both, val_fraction=0.3, seed=0, annotation="label")
    assert split.test == (9, 10)
    assert len(split.train) + len(split.validation) == 9


def test_datasets_without_common_classes_are_told_how_to_map_them() -> None:
    with pytest.raises(UserError, match="fewer than two classes in common; --classes common maps both"):
        external_test(collection("A", ("mel", "nv")), collection("B", ("MEL", "NV")))
