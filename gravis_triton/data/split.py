"""Which images are pre-trained on, and which are kept for evaluation."""

from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np

from gravis_triton.data.records import Collection, Record


def pooled(collection: Collection) -> Collection:
    """The collection with its official training and validation images in one pool, to be split anew; the official test
    split stays."""
    records = tuple(
        record if record.split == "test" else replace(record, split=None) for record in collection.records
    )
    return replace(collection, records=records)


def hold_out(collection: Collection, *, fraction: float = 0.2, seed: int) -> tuple[list[int], list[int]]:
    """(indices of the records for pre-training, indices of those for evaluation), each in ascending order.

    Evaluation: the labelled images of the official validation split where there are any, else `fraction` of
    the labelled images outside the test split, drawn by `seed` class by class, whole groups (lesions or
    patients) at a time; a group of several classes counts as its rarest. None of a collection without labels.
    Pre-training: all others, less the official test split and what shares a group with an image of the
    evaluation or the test split.
    Raises ValueError unless 0 < fraction < 1.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"fraction {fraction}: must lie between 0 and 1")
    records = collection.records
    test = {index for index, record in enumerate(records) if record.split == "test"}
    labelled = [
        index for index, record in enumerate(records) if record.label is not None and index not in test
    ]
    held = {index for index in labelled if records[index].split == "validation"}
    if not held:
        held = _stratified(records, labelled, fraction, seed)
    closed = {records[index].group for index in held | test} - {None}
    training = [
        index
        for index, record in enumerate(records)
        if index not in held and index not in test and record.group not in closed
    ]
    return training, sorted(held)


def _stratified(records: tuple[Record, ...], labelled: list[int], fraction: float, seed: int) -> set[int]:
    groups: dict[str | int, list[int]] = defaultdict(list)
    for index in labelled:
        group = records[index].group
        groups[index if group is None else group].append(index)
    counts = Counter(records[index].label for index in labelled)
    strata: dict[int, list[list[int]]] = defaultdict(list)
    for members in groups.values():
        rarest = min((records[index].label for index in members), key=lambda label: (counts[label], label))
        strata[rarest or 0].append(members)
    generator = np.random.default_rng(seed)
    held: set[int] = set()
    for label in sorted(strata):
        held |= _draw(strata[label], fraction, generator)
    return held


def _draw(groups: list[list[int]], fraction: float, generator: np.random.Generator) -> set[int]:
    """Whole groups at random, up to `fraction` of their images; but one group where there are two or more."""
    wanted = round(fraction * sum(map(len, groups)))
    drawn: list[int] = []
    for position in generator.permutation(len(groups)):
        if len(drawn) + len(groups[position]) <= wanted:
            drawn += groups[position]
    if not drawn and len(groups) > 1:
        drawn = min(groups, key=lambda group: len(group))
    return set(drawn)
