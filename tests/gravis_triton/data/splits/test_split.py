"""Which images are pre-trained on, and which are trained on, chosen by and tested on afterwards."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gravis_triton.data.datasets.records import Annotation, Collection, Record
from gravis_triton.data.splits.split import (
    Split,
    describe_split,
    hold_out,
    pooled,
    split_collection,
    write_split,
)
from gravis_triton.data.synthetic.image import SYNTHETIC_CLASSES
from gravis_triton.errors import UserError


class NoImage:
    def read(self, short_side: int | None = None) -> None:
        raise OSError("not to be read")

    def fingerprint(self) -> str:
        return ""


def collection(*rows: tuple[int | None, str | None, str | None]) -> Collection:
    """(label, group, split) of each record."""
    records = tuple(
        Record(str(index), NoImage(), label=label, group=group, split=split)  # type: ignore[arg-type]
        for index, (label, group, split) in enumerate(rows)
    )
    return Collection("c", records, classes=tuple(SYNTHETIC_CLASSES))


def test_official_validation_split_is_held_out_and_test_is_in_neither() -> None:
    rows = [(0, None, "train"), (1, None, "validation"), (2, None, "test"), (None, None, "train")]
    assert hold_out(collection(*rows), seed=0) == ([0, 3], [1])


def test_validation_images_without_labels_are_pre_trained_on_and_training_images_held_out() -> None:
    rows = [(0, None, "train")] * 10 + [(None, None, "validation")] * 3
    training, held = hold_out(collection(*rows), seed=0)
    assert len(held) == 2
    assert {10, 11, 12} <= set(training)


def test_a_fifth_of_every_class_is_held_out() -> None:
    rows = [(0, None, None)] * 50 + [(1, None, None)] * 10 + [(2, None, None)] * 200
    c = collection(*rows)
    training, held = hold_out(c, seed=0)
    assert Counter(c.records[index].label for index in held) == {0: 10, 1: 2, 2: 40}
    assert sorted(training + held) == list(range(260))


def test_a_rare_class_of_two_images_has_one_held_out() -> None:
    rows = [(0, None, None)] * 20 + [(1, None, None)] * 2
    c = collection(*rows)
    _, held = hold_out(c, seed=0)
    assert Counter(c.records[index].label for index in held) == {0: 4, 1: 1}


def test_the_seed_decides_the_split() -> None:
    c = collection(*[(index % 2, None, None) for index in range(100)])
    assert hold_out(c, seed=1) == hold_out(c, seed=1)
    assert hold_out(c, seed=1) != hold_out(c, seed=2)


def test_without_labels_everything_but_the_test_split_is_pre_trained_on() -> None:
    rows = [(None, None, "train"), (None, None, "validation"), (None, None, "test"), (None, None, None)]
    assert hold_out(collection(*rows), seed=0) == ([0, 1, 3], [])


def test_images_of_a_lesion_in_the_validation_or_test_split_are_not_pre_trained_on() -> None:
    rows = [
        (0, "a", "train"),
        (0, "b", "train"),
        (None, "a", "train"),
        (0, "c", "train"),
        (1, "a", "validation"),
        (1, "c", "test"),
    ]
    assert hold_out(collection(*rows), seed=0) == ([1], [4])


@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from([None, 0, 1, 2]),
            st.sampled_from([None, *"abcdefgh"]),
            st.sampled_from([None, "train", "validation", "test"]),
        )
    ),
    seed=st.integers(0, 5),
)
def test_no_group_and_no_image_is_on_both_sides(
    rows: list[tuple[int | None, str | None, str | None]], seed: int
) -> None:
    training, held = hold_out(collection(*rows), seed=seed)
    groups = [{rows[index][1] for index in side} - {None} for side in (training, held)]
    assert not set(training) & set(held)
    assert not groups[0] & groups[1]
    assert all(rows[index][2] != "test" for index in training + held)
    assert all(rows[index][0] is not None for index in held)


def test_patients_of_several_classes_count_as_their_rarest() -> None:
    rows = [(0, f"p{index // 5}", None) for index in range(100)]
    for patient in range(4):
        rows[patient * 5] = (1, f"p{patient}", None)
    c = collection(*rows)
    for seed in range(10):
        _, held = hold_out(c, seed=seed, fraction=0.25)
        assert Counter(c.records[index].label for index in held) == {0: 24, 1: 1}


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.5])
def test_fraction_outside_of_0_and_1_is_refused(fraction: float) -> None:
    with pytest.raises(ValueError, match="must be between 0 and 1"):
        hold_out(collection((0, None, None)), fraction=fraction, seed=0)


def test_pooled_images_are_split_anew_and_the_test_split_stays() -> None:
    parts = ["train"] * 30 + ["validation"] * 10 + ["test"] * 10
    c = pooled(collection(*((index % 2, None, part) for index, part in enumerate(parts))))
    first, second = (hold_out(c, fraction=0.25, seed=seed) for seed in (1, 2))
    assert len(first[1]) == len(second[1]) == 10
    assert first[1] != second[1]
    assert sorted(first[0] + first[1]) == list(range(40))


def annotated(*rows: tuple[int | None, bool, str | None, str | None], name: str = "c") -> Collection:
    """(label, whether it has a mask, group, split) of each record."""
    records = tuple(
        Record(str(index), NoImage(), label=label, group=group, split=split, mask=NoImage() if mask else None)  # type: ignore[arg-type]
        for index, (label, mask, group, split) in enumerate(rows)
    )
    return Collection(name, records, classes=tuple(SYNTHETIC_CLASSES))


def in_order(part: str, count: int, label: int | None = None) -> list[tuple[int | None, bool, None, str]]:
    return [(index % 2 if label is None else label, True, None, part) for index in range(count)]


def test_images_with_a_mask_but_no_label_are_held_out_like_labeled_ones() -> None:
    training, held = hold_out(annotated(*[(None, True, None, None)] * 20, *[(None, False, None, None)] * 5), seed=0)
    assert len(held) == 4
    assert max(held) < 20
    assert len(training) == 21


def test_official_validation_images_with_a_mask_but_no_label_are_held_out() -> None:
    rows = [(None, True, None, "train"), (None, True, None, "validation"), (None, False, None, "validation")]
    assert hold_out(annotated(*rows), seed=0) == ([0, 2], [1])


def test_masks_change_nothing_about_what_is_held_out_of_a_labeled_set() -> None:
    labels = [index % 3 for index in range(90)]
    with_masks = annotated(*((label, index % 2 == 0, None, None) for index, label in enumerate(labels)))
    assert hold_out(with_masks, seed=4) == hold_out(collection(*((label, None, None) for label in labels)), seed=4)


def test_images_with_only_a_mask_change_nothing_about_what_is_held_out_of_the_labeled() -> None:
    rows = [(index % 3, False, None, None) for index in range(90)]
    _, held = hold_out(annotated(*rows), seed=4)
    _, more = hold_out(annotated(*rows, *[(None, True, None, None)] * 10), seed=4)
    assert [index for index in more if index < 90] == held
    assert len(more) == len(held) + 2


def test_the_test_split_and_its_lesions_change_nothing_about_what_is_held_out() -> None:
    rows = [(index % 3, False, f"g{index // 2}", None) for index in range(90)]
    tested = [(0, False, "g90", None), (1, False, "g91", None)]
    alone = annotated(*rows)
    together = annotated(*rows, *tested, (0, False, "g90", "test"), (1, False, "g91", "test"))
    assert hold_out(together, seed=2) == hold_out(alone, seed=2)


@pytest.mark.parametrize("annotation", ["label", "mask"])
def test_official_splits_are_the_parts(annotation: Annotation) -> None:
    c = annotated(*in_order("train", 4), *in_order("validation", 2), *in_order("test", 3))
    split = split_collection(c, val_fraction=0.2, seed=0, annotation=annotation)
    assert split == Split(train=(0, 1, 2, 3), validation=(4, 5), test=(6, 7, 8))


@pytest.mark.parametrize("annotation", ["label", "mask"])
def test_without_an_annotated_test_split_the_official_validation_split_is_the_test_part(
    annotation: Annotation,
) -> None:
    c = annotated(*in_order("train", 20), *in_order("validation", 6), (None, False, None, "test"))
    split = split_collection(c, val_fraction=0.2, seed=0, annotation=annotation)
    assert split.test == tuple(range(20, 26))
    assert len(split.validation) == 4
    assert sorted(split.train + split.validation) == list(range(20))


@pytest.mark.parametrize("seed", range(3))
def test_without_official_splits_the_test_part_is_what_was_kept_out_of_pre_training(seed: int) -> None:
    c = annotated(*((index // 2 % 3, True, f"g{index // 2}", None) for index in range(120)))
    pretrained, held = hold_out(c, fraction=0.25, seed=seed)
    split = split_collection(c, val_fraction=0.25, seed=seed, annotation="label")
    assert list(split.test) == held
    assert set(split.train) | set(split.validation) == set(pretrained)
    labels = Counter(c.records[index].label for index in split.validation)
    assert labels == {0: 8, 1: 8, 2: 8}


def test_validation_images_of_a_data_set_with_a_test_split_were_kept_out_of_pre_training() -> None:
    c = annotated(*in_order("train", 40), *in_order("test", 10))
    _, held = hold_out(c, seed=1)
    split = split_collection(c, val_fraction=0.2, seed=1, annotation="mask")
    assert split.test == tuple(range(40, 50))
    assert list(split.validation) == held


def test_pooled_images_are_split_anew_for_fine_tuning() -> None:
    c = pooled(annotated(*in_order("train", 30), *in_order("validation", 10), *in_order("test", 5)))
    first, second = (split_collection(c, val_fraction=0.25, seed=seed, annotation="label") for seed in (1, 2))
    assert first.test == second.test == tuple(range(40, 45))
    assert first.validation != second.validation
    assert len(first.train) == len(second.train) == 30


def test_images_without_the_annotation_of_the_task_are_in_no_part() -> None:
    rows = [(index % 2, index % 3 > 0, None, None) for index in range(60)]
    split = split_collection(annotated(*rows), val_fraction=0.2, seed=0, annotation="mask")
    assert sorted(split.train + split.validation + split.test) == [i for i in range(60) if i % 3 > 0]


@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from([None, 0, 1, 2]),
            st.booleans(),
            st.sampled_from([None, *"abcdefgh"]),
            st.sampled_from([None, "train", "validation", "test"]),
        )
    ),
    seed=st.integers(0, 5),
    annotation=st.sampled_from(["label", "mask"]),
)
def test_no_group_is_in_two_parts_and_the_test_part_was_not_pre_trained_on(
    rows: list[tuple[int | None, bool, str | None, str | None]], seed: int, annotation: Annotation
) -> None:
    c = annotated(*rows)
    try:
        split = split_collection(c, val_fraction=0.3, seed=seed, annotation=annotation)
    except UserError:
        return
    parts = [split.train, split.validation, split.test]
    groups = [{rows[index][2] for index in part} - {None} for part in parts]
    assert len(set().union(*parts)) == sum(map(len, parts))
    assert len(set[str | None]().union(*groups)) == sum(map(len, groups))
    assert all(part and list(part) == sorted(part) for part in parts)
    assert all(c.records[index].is_annotated(annotation) for part in parts for index in part)
    assert not set(split.test) & set(hold_out(c, fraction=0.3, seed=seed)[0])


def test_no_image_with_a_mask_names_the_official_folders() -> None:
    c = annotated((0, False, None, "train"), (1, False, None, "validation"), name="ISIC 2017")
    with pytest.raises(
        UserError,
        match=r"no image with a mask: expected ISIC_\*_segmentation.png in ISIC-2017_Training_Part1_Ground",
    ):
        split_collection(c, val_fraction=0.2, seed=0, annotation="mask")


def test_no_image_with_a_label_gives_a_hint() -> None:
    with pytest.raises(UserError, match="c has no image with a label: give a folder with a sub-folder for each class"):
        split_collection(annotated((None, True, None, None)), val_fraction=0.2, seed=0, annotation="label")
    note = "no labels are read from the columns image, kind: give --columns label=kind"
    collection = replace(annotated((None, True, None, None)), notes=(note, "groups: none"))
    with pytest.raises(UserError, match=rf"or an ISIC layout; {note}$"):
        split_collection(collection, val_fraction=0.2, seed=0, annotation="label")


def test_masks_of_training_images_alone_are_refused_with_a_hint() -> None:
    rows = [*in_order("train", 9), (0, False, None, "validation")]
    with pytest.raises(UserError, match=r"has no test image with a mask \(7 train, 2 validation, 0 test.*--split-seed"):
        split_collection(annotated(*rows), val_fraction=0.2, seed=0, annotation="mask")


def test_a_share_that_leaves_nothing_to_train_on_is_named_with_a_hint() -> None:
    rows = [(index % 3, False, None, None) for index in range(60)]
    with pytest.raises(UserError) as error:
        split_collection(annotated(*rows), val_fraction=0.99, seed=0, annotation="label")
    assert str(error.value) == (
        "c has no train and no validation image with a label (0 train, 0 validation, 60 test at --val-fraction 0.99; "
        "images of one lesion or patient stay together): lower --val-fraction, give more images with a label "
        "or split again with --split-seed"
    )


def test_too_few_labeled_images_are_reported_without_a_word_on_folders() -> None:
    with pytest.raises(UserError) as error:
        split_collection(
            annotated((0, False, None, None), name="ISIC 2017"), val_fraction=0.2, seed=0, annotation="label"
        )
    assert str(error.value) == (
        "ISIC 2017 has no validation and no test image with a label (1 train, 0 validation, 0 test at "
        "--val-fraction 0.2; images of one lesion or patient stay together): give more images with a label "
        "or split again with --split-seed"
    )


@pytest.mark.parametrize("count", [1, 2])
def test_fewer_images_than_parts_are_refused(count: int) -> None:
    with pytest.raises(UserError, match=r"c has no .* image with a mask"):
        split_collection(annotated(*[(None, True, None, None)] * count), val_fraction=0.2, seed=0, annotation="mask")


def test_one_class_alone_is_refused() -> None:
    with pytest.raises(UserError, match="all 6 training images are of the class melanoma"):
        split_collection(annotated(*in_order(None, 10, label=0)), val_fraction=0.2, seed=0, annotation="label")  # type: ignore[arg-type]


def test_a_class_without_an_image_in_some_part_is_reported() -> None:
    c = annotated(*in_order("train", 4), (2, True, None, "validation"), *in_order("test", 3))
    split = split_collection(c, val_fraction=0.2, seed=0, annotation="label")
    third = SYNTHETIC_CLASSES[2]
    assert describe_split(split, c, "label") == [
        "images with a label: 4 train, 1 validation, 3 test",
        "no lesion or patient is known: images are split one by one",
        f"3 classes: 4 {SYNTHETIC_CLASSES[0]}, 3 {SYNTHETIC_CLASSES[1]}, 1 {third}",
        f"warning: no train image of {third}",
        f"warning: no validation image of {SYNTHETIC_CLASSES[0]}, {SYNTHETIC_CLASSES[1]}",
        f"warning: no test image of {third}",
    ]
    assert describe_split(split, c, "mask") == [
        "images with a mask: 4 train, 1 validation, 3 test",
        "no lesion or patient is known: images are split one by one",
    ]


def test_lesions_and_patients_are_counted_and_one_with_most_images_is_reported() -> None:
    rows = [(index % 2, True, f"lesion {index // 2}", None) for index in range(20)]
    c = annotated(*rows)
    split = split_collection(c, val_fraction=0.2, seed=0, annotation="label")
    assert describe_split(split, c, "label")[1] == "10 lesions or patients, each in one part"
    c = annotated(*rows, *[(index % 2, True, "Control", None) for index in range(10)])
    lines = describe_split(split_collection(c, val_fraction=0.2, seed=0, annotation="label"), c, "label")
    assert lines[1:3] == [
        "11 lesions or patients, each in one part",
        "warning: 10 of 30 images are of one lesion or patient, 'Control'",
    ]


def test_classes_that_differ_only_in_case_are_reported() -> None:
    c = replace(annotated(*in_order(None, 20)), classes=("Nevus", "nevus"))  # type: ignore[arg-type]
    lines = describe_split(split_collection(c, val_fraction=0.2, seed=0, annotation="label"), c, "label")
    assert "2 classes: 10 Nevus, 10 nevus" in lines
    assert "warning: classes that differ only in case or signs: Nevus and nevus" in lines


def test_the_written_split_names_the_part_of_every_image(tmp_path: Path) -> None:
    c = annotated(*in_order("train", 2), *in_order("validation", 1), *in_order("test", 2))
    write_split(Split((0, 1), (2,), (3, 4)), c, tmp_path / "split.csv")
    rows = (tmp_path / "split.csv").read_text().splitlines()
    assert rows == ["image_id,part", "0,train", "1,train", "2,validation", "3,test", "4,test"]
    assert [file.name for file in tmp_path.iterdir()] == ["split.csv"]


def test_images_without_a_mask_are_counted_and_named() -> None:
    rows = [
        *in_order("train", 4),
        *in_order("validation", 2),
        *in_order("test", 3),
        *[(0, False, None, "train")] * 4,
    ]
    c = annotated(*rows)
    split = split_collection(c, val_fraction=0.2, seed=0, annotation="mask")
    assert describe_split(split, c, "mask")[1] == "left out: 4 of 13 images have no mask, e.g. 9, 10, 11"


def test_images_that_a_shared_lesion_keeps_out_are_counted_and_the_column_can_be_named() -> None:
    c = annotated(*[(index % 2, False, "L", "train") for index in range(3)], *in_order("train", 6),
                  (0, False, "L", "test"), (1, False, None, "test"))  # fmt: skip
    split = split_collection(c, val_fraction=0.3, seed=0, annotation="label")
    expected = "left out: 3 images with a label are of lesions or patients that are in a later part"
    assert describe_split(split, c, "label")[1] == expected
    alone = annotated(*[(index % 2, False, "L", None) for index in range(9)])
    with pytest.raises(UserError, match=r"stay together, which --columns group=NAME or group= \(none\) sets"):
        split_collection(alone, val_fraction=0.2, seed=0, annotation="label")
