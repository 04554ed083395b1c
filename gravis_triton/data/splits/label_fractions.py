"""Draw images class by class, whole lesions or patients at a time."""

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from gravis_triton.data.datasets.records import Collection, Record

# The stratum of images that have no class.
_NO_CLASS = -1

Group = list[int]


def stratified_draw(records: Sequence[Record], indices: Sequence[int], fraction: float, seed: int) -> set[int]:
    """About `fraction` of the images `indices` of every class, drawn by `seed`, whole groups at a time.

    A group, or image, of several classes counts as its rarest. A class with two or more groups gives at least one.
    """
    strata = _shuffled_strata(records, indices, seed)
    return {index for groups in strata.values() for index in _nearest(groups, fraction)}


def label_subset(collection: Collection, train: Sequence[int], *, fraction: float, seed: int) -> tuple[int, ...]:
    """The training images whose annotations a few-label run may use, ascending.

    Takes from each class as many groups (lesions or patients), in the order of one permutation by `seed`, as come
    nearest to `fraction` of the class's images, and at least one; so smaller fractions are subsets of larger ones.
    Every class in `train` is included, and fraction 1 is all of `train`. Images without classes are one class.
    train: record indices. A group, or image, of several classes counts as its rarest.
    Raises ValueError unless 0 < fraction <= 1.
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction {fraction}: must be above 0 and at most 1")
    strata = _shuffled_strata(collection.records, train, seed)
    chosen = {index for groups in strata.values() for index in _prefix(groups, fraction)}
    # a class whose groups all count as rarer classes has no stratum of its own
    for label in {label for index in train for label in _classes(collection.records[index])} - set(strata):
        groups = (group for groups in strata.values() for group in groups)
        chosen.update(next(g for g in groups if any(label in _classes(collection.records[index]) for index in g)))
    return tuple(sorted(chosen))


def describe_subset(collection: Collection, train: Sequence[int], subset: Sequence[int]) -> str:
    """One line: how many of the training images are in a `label_subset`, in all and of each class."""
    counts, totals = (Counter(c for i in part for c in collection.records[i].classes) for part in (subset, train))
    classes = [
        f"{counts[label]:,} of {totals[label]:,} {name}"
        for label, name in enumerate(collection.classes)
        if totals[label]
    ]
    share = f"{len(subset):,} of {len(train):,} training images ({len(subset) / len(train):.1%})"
    return ": ".join(["label fraction", share, *([", ".join(classes)] if classes else [])])


def _shuffled_strata(records: Sequence[Record], indices: Sequence[int], seed: int) -> dict[int, list[Group]]:
    """Class -> its groups in random order, ascending by class; an image without a group is one of its own."""
    groups: dict[str | int, Group] = defaultdict(list)
    for index in indices:
        group = records[index].group
        groups[index if group is None else group].append(index)
    counts = Counter(label for index in indices for label in _classes(records[index]))
    strata: dict[int, list[Group]] = defaultdict(list)
    for members in groups.values():
        classes = {label for index in members for label in _classes(records[index])}
        strata[min(classes, key=lambda label: (counts[label], label))].append(members)
    generator = np.random.default_rng(seed)
    return {
        label: [strata[label][position] for position in generator.permutation(len(strata[label]))]
        for label in sorted(strata)
    }


def _classes(record: Record) -> tuple[int, ...]:
    return record.classes or (_NO_CLASS,)


def _nearest(groups: list[Group], fraction: float) -> Group:
    """Each group if it brings the total closer to `fraction` of the images; one of the smallest groups if none of two
    or more is taken."""
    expected = round(fraction * sum(map(len, groups)))
    drawn: Group = []
    for group in groups:
        if abs(len(drawn) + len(group) - expected) < abs(len(drawn) - expected):
            drawn += group
    if not drawn and len(groups) > 1:
        drawn = min(groups, key=len)
    return drawn


def _prefix(groups: list[Group], fraction: float) -> Group:
    expected = max(1, int(fraction * sum(map(len, groups)) + 0.5))
    taken = list(groups[0])
    for group in groups[1:]:
        if len(taken) + len(group) - expected > expected - len(taken):  # farther off than without it
            break
        taken += group
    return taken
