"""Tables in which an image may have several classes, or none."""

from collections import Counter
from pathlib import Path

import pytest

from gravis_triton.data import Collection, Record, external_test
from gravis_triton.data.datasets.common import common_classes
from gravis_triton.data.datasets.open import open_collection
from gravis_triton.data.splits.label_fractions import label_subset, stratified_draw
from gravis_triton.data.splits.split import describe_split, split_collection
from gravis_triton.errors import UserError


@pytest.fixture
def table(tmp_path: Path, images):
    images(tmp_path / "photos", [f"{number}.jpg" for number in range(4)])

    def write(*lines: str) -> str:
        (tmp_path / "table.csv").write_text("\n".join(lines))
        return str(tmp_path)

    return write


def test_0_1_columns_are_the_classes_of_each_image(table) -> None:
    data = table("image,MEL,NV,hair", "0,1,0,1", "1,0,0,0", "2,0,1.0,1", "3,0,,0")
    collection = open_collection(data, columns="labels=MEL+NV+hair")
    assert collection.multilabel
    assert collection.classes == collection.scored_classes == ("MEL", "NV", "hair")
    assert [record.label for record in collection.records] == [(0, 2), (), (1, 2), None]
    assert collection.labels([0, 1, 2]) == [[1, 0, 1], [0, 0, 0], [0, 1, 1]]
    assert [collection.class_names(record) for record in collection.records] == ["MEL|hair", "", "NV|hair", None]
    assert collection.notes[1:3] == (
        "labels: any number of 3 classes per image, by the 0/1 columns MEL, NV, hair: 2 with several, 1 with none",
        "without a label: 1 rows",
    )


@pytest.mark.parametrize("separator", ["|", "; ", ",", "/", "+"])
def test_one_column_holds_the_names_of_several(table, separator) -> None:
    cells = [f'"mel{separator}nv"', "nv", "unknown", f'"bcc{separator}unknown"']
    data = table("image,dx", *(f"{number},{cell}" for number, cell in enumerate(cells)))
    collection = open_collection(data, columns="labels=dx")
    assert collection.classes == ("bcc", "mel", "nv")
    assert [record.label for record in collection.records] == [(1, 2), (2,), None, (0,)]
    assert any(f"by dx, separated by {separator.strip()!r}: 1 with several, 2 with one" in n for n in collection.notes)


def test_errors_offer_the_way_to_several_classes(table) -> None:
    several = ("image,a,b", "0,1,1", "1,0,1", "2,1,0", "3,0,0")
    with pytest.raises(UserError, match=r"found a and b;.*--columns labels=A\+B reads several"):
        open_collection(table(*several), columns="label=a+b")
    notes = open_collection(table(*several)).notes
    assert any("--columns labels=a+b (one 0/1 column per class)" in note for note in notes)
    with pytest.raises(
        UserError, match=r"'mel\|nv', several classes in one cell.*--columns labels=label reads several"
    ):
        open_collection(table("image,label", "0,mel|nv", "1,nv"))
    with pytest.raises(UserError, match="give label= for one class per image, or labels= for several"):
        open_collection(table(*several), columns="labels=a+b,label=a")
    with pytest.raises(UserError, match=r"line 3, column b: expected 0 or 1, found '2'"):
        open_collection(table("image,a,b", "0,1,1", "1,0,2"), columns="labels=a+b")


def of_sets(*sets: tuple[int, ...], split: str | None = None) -> Collection:
    records = tuple(Record(f"{number}", None, label, split=split) for number, label in enumerate(sets))
    return Collection("moles", records, ("mel", "nv", "hair"), multilabel=True)


def test_draws_are_stratified_by_the_rarest_class_of_an_image() -> None:
    # 4 of 40 images are melanoma, 20 have hair, 8 of these neither of the others
    sets = [(0, 2)] * 4 + [(1, 2)] * 8 + [(2,)] * 8 + [(1,)] * 10 + [()] * 10
    collection = of_sets(*sets)
    subset = label_subset(collection, range(40), fraction=0.5, seed=0)
    assert Counter(sets[index][:1] for index in subset) == {(0,): 2, (1,): 9, (2,): 4, (): 5}
    drawn = stratified_draw(collection.records, range(40), 0.25, seed=0)
    assert Counter(sets[index][:1] for index in drawn)[(0,)] == 1


def test_classes_that_all_or_none_of_a_part_have_are_named() -> None:
    collection = of_sets(*[(0, 2), (1, 2), (2,), ()] * 10)
    split = split_collection(collection, val_fraction=0.25, seed=0, annotation="label")
    records = collection.records
    lines = describe_split(split, collection, "label")
    assert "3 classes: 10 mel, 10 nv, 30 hair" in lines
    only = [index for index, record in enumerate(records) if record.label in ((1, 2), (2,))]
    lines = describe_split(type(split)(split.train, split.validation, tuple(only)), collection, "label")
    assert "warning: no test image of mel, which the mean AUC leaves out" in lines
    assert "warning: all test images are of hair, which the mean AUC leaves out" in lines


def test_training_images_that_all_have_the_same_classes_are_refused() -> None:
    with pytest.raises(UserError, match=r"all 5 training images are of the class mel\|hair"):
        split_collection(of_sets(*[(0, 2)] * 9), val_fraction=0.25, seed=0, annotation="label")


def test_classes_are_mapped_to_common_diagnoses() -> None:
    collection = common_classes(of_sets((0, 2), (1,), (2,), ()))
    assert collection.classes == ("melanoma", "nevus")
    assert [record.label for record in collection.records] == [(0,), (1,), (), ()]
    single = Collection("other", (Record("a", None, 0), Record("b", None, 1)), ("melanoma", "nevus"))
    with pytest.raises(UserError, match="only one of moles and other has several classes per image"):
        external_test(collection, single)
