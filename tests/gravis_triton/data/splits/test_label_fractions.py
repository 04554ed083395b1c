"""Few labels: which part of the training images keeps its annotations."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gravis_triton.data.datasets.records import Collection, Record
from gravis_triton.data.splits.label_fractions import describe_subset, label_subset, stratified_draw


class NoImage:
    def read(self, short_side: int | None = None) -> None:
        raise OSError("not to be read")

    def fingerprint(self) -> str:
        return ""


Rows = list[tuple[int | None, str | None]]


def collection(rows: Rows) -> Collection:
    """(label, group) of each record."""
    records = (Record(str(i), NoImage(), label=label, group=group) for i, (label, group) in enumerate(rows))  # type: ignore[arg-type]
    return Collection("c", tuple(records), classes=("a", "b", "c"))


labeled_rows = st.lists(
    st.tuples(st.sampled_from([0, 0, 0, 1, 2]), st.sampled_from([None, *"abcdefghijkl"])),
    min_size=1,
    max_size=80,
)
fractions = st.floats(0.01, 1.0)


@given(rows=labeled_rows, fractions=st.tuples(fractions, fractions), seed=st.integers(0, 9))
def test_the_subset_of_a_smaller_fraction_is_part_of_that_of_a_larger_one(
    rows: Rows, fractions: tuple[float, float], seed: int
) -> None:
    c, train = collection(rows), range(0, len(rows), 2)
    small, large = (label_subset(c, train, fraction=f, seed=seed) for f in sorted(fractions))
    assert set(small) <= set(large) <= set(train)


@given(rows=labeled_rows, fraction=fractions, seed=st.integers(0, 9))
def test_every_class_is_in_every_subset_and_groups_are_whole(rows: Rows, fraction: float, seed: int) -> None:
    chosen = label_subset(collection(rows), range(len(rows)), fraction=fraction, seed=seed)
    assert list(chosen) == sorted(set(chosen))
    assert {rows[i][0] for i in chosen} == {label for label, _ in rows}
    groups = {rows[i][1] for i in chosen} - {None}
    assert {i for i, (_, group) in enumerate(rows) if group in groups} <= set(chosen)


@given(
    labels=st.lists(st.sampled_from([None, 0, 0, 0, 1, 2]), min_size=1, max_size=200),
    fraction=fractions,
    seed=st.integers(0, 9),
)
def test_each_class_has_its_share_to_within_half_an_image(labels: list[int | None], fraction: float, seed: int) -> None:
    chosen = label_subset(
        collection([(label, None) for label in labels]), range(len(labels)), fraction=fraction, seed=seed
    )
    taken = Counter(labels[i] for i in chosen)
    for label, count in Counter(labels).items():
        assert abs(taken[label] - max(1, fraction * count)) <= 0.5


@given(rows=labeled_rows, seed=st.integers(0, 9))
def test_the_whole_is_all_training_images(rows: Rows, seed: int) -> None:
    train = range(0, len(rows), 2)
    assert label_subset(collection(rows), train, fraction=1.0, seed=seed) == tuple(train)


def test_five_percent_of_two_thousand_images() -> None:
    rows: Rows = [(0, None)] * 374 + [(1, None)] * 254 + [(2, None)] * 1372
    chosen = label_subset(collection(rows), range(2000), fraction=0.05, seed=0)
    assert Counter(rows[i][0] for i in chosen) == {0: 19, 1: 13, 2: 69}


@pytest.mark.parametrize("seed", range(5))
def test_large_patients_come_as_near_to_the_fraction_as_whole_ones_can(seed: int) -> None:
    rows: Rows = [(0, f"p{i // 40}") for i in range(1000)]
    for fraction in (0.05, 0.07, 0.1, 0.5, 0.97):
        chosen = label_subset(collection(rows), range(1000), fraction=fraction, seed=seed)
        assert abs(len(chosen) - 1000 * fraction) <= 20


def test_the_share_that_large_patients_allow_is_described_with_the_rare_class_apart() -> None:
    rows: Rows = [(int(i == 7), f"p{i // 400}") for i in range(4000)]
    chosen = label_subset(collection(rows), range(4000), fraction=0.05, seed=0)
    line = "label fraction: 800 of 4,000 training images (20.0%): 799 of 3,999 a, 1 of 1 b"
    assert describe_subset(collection(rows), range(4000), chosen) == line


def test_images_without_labels_are_one_stratum() -> None:
    unlabeled = collection([(None, None)] * 50)
    chosen = label_subset(unlabeled, range(50), fraction=0.1, seed=0)
    assert len(chosen) == 5
    line = "label fraction: 5 of 50 training images (10.0%)"
    assert describe_subset(unlabeled, range(50), chosen) == line


def test_the_seed_decides_the_subset() -> None:
    c = collection([(i % 2, None) for i in range(100)])
    one, same, other = (label_subset(c, range(100), fraction=0.2, seed=seed) for seed in (1, 1, 2))
    assert one == same != other


@pytest.mark.parametrize("fraction", [0.0, -0.1, 1.01])
def test_a_fraction_that_is_none_is_refused(fraction: float) -> None:
    with pytest.raises(ValueError, match="must be above 0 and at most 1"):
        label_subset(collection([(0, None)]), [0], fraction=fraction, seed=0)


@pytest.mark.parametrize("seed", range(5))
def test_a_common_class_that_only_one_patient_of_a_rare_one_has_is_kept(seed: int) -> None:
    rows: Rows = [(1, f"p{i}") for i in range(20)] + [(0, "p7")] * 30
    chosen = label_subset(collection(rows), range(50), fraction=0.05, seed=seed)
    assert {rows[i][0] for i in chosen} == {0, 1}


def test_the_seed_decides_which_image_of_a_small_class_is_drawn() -> None:
    records = collection([(0, None)] * 20 + [(1, None)] * 2).records
    drawn = [stratified_draw(records, range(22), 0.2, seed) for seed in range(20)]
    assert all(len(indices & {20, 21}) == 1 for indices in drawn)
    assert {20, 21} <= set().union(*drawn)


def test_a_large_patient_is_drawn_at_times() -> None:
    rows: Rows = [(0, "large")] * 30 + [(0, None)] * 70
    drawn = [stratified_draw(collection(rows).records, range(100), 0.2, seed) for seed in range(40)]
    assert any(0 in indices for indices in drawn)
    assert all(set(range(30)) <= indices or not set(range(30)) & indices for indices in drawn)
    assert all(abs(len(indices) - 20) <= 15 for indices in drawn)
