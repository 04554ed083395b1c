"""Which images are pre-trained on, and which are held out."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gravis_triton.data.records import Collection, Record
from gravis_triton.data.split import hold_out, pooled
from gravis_triton.data.synthetic import SYNTHETIC_CLASSES


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
    with pytest.raises(ValueError, match="must lie between 0 and 1"):
        hold_out(collection((0, None, None)), fraction=fraction, seed=0)


def test_pooled_images_are_split_anew_and_the_test_split_stays() -> None:
    parts = ["train"] * 30 + ["validation"] * 10 + ["test"] * 10
    c = pooled(collection(*((index % 2, None, part) for index, part in enumerate(parts))))
    first, second = (hold_out(c, fraction=0.25, seed=seed) for seed in (1, 2))
    assert len(first[1]) == len(second[1]) == 10
    assert first[1] != second[1]
    assert sorted(first[0] + first[1]) == list(range(40))
