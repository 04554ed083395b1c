"""Which columns of a table hold images, labels, groups, masks and splits, and what they say about each image."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from gravis_triton.data.datasets.frame import Frame
from gravis_triton.data.datasets.labels import are_ones, is_binary, some, spelled
from gravis_triton.errors import UserError, did_you_mean

COLUMNS = {
    "image": ("image", "image_path", "image_id", "image_name", "isic_id", "file_name", "filename", "file", "path"),
    "label": ("label", "class", "diagnosis", "dx", "target", "malignant", "benign_malignant"),
    "labels": (),
    "group": ("patient_id", "lesion_id", "patient", "lesion", "group"),
    "mask": ("mask", "mask_path", "segmentation"),
    "split": ("split", "part", "subset"),
}  # fmt: skip
"""Kind of column -> accepted names: the first present one counts, for groups all; `columns` names others.
labels: any number of classes per image."""

SPLITS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}

_RIVALS = COLUMNS["label"][:5]  # of these only one can be meant
_LIKE_LABELS = ("diagnos", "label", "malignan", "class", "disease", "dx", "target", "condition")

Chosen = dict[str, tuple[str, ...]]


def named_columns(columns: str | None) -> Chosen:
    """ "image=NAME,label=A+B,group=" -> {"image": ("NAME",), "label": ("A", "B"), "group": ()}."""
    parts = [part.partition("=") for part in columns.split(",")] if columns else []
    for kind, _, _ in parts:
        if kind not in COLUMNS:
            raise UserError(f"--columns {columns}: unknown {kind!r}; expected {', '.join(COLUMNS)}")
    named = {kind: tuple(filter(None, names.split("+"))) for kind, _, names in parts}
    if {"label", "labels"} <= named.keys():
        raise UserError(f"--columns {columns}: give label= for one class per image, or labels= for several")
    return named


def choose_columns(frame: Frame, named: Chosen) -> tuple[Chosen, list[str]]:
    """(kind of column -> the columns of the table that hold it, lines for the user).

    named: columns that the user, or a known layout, has chosen; other kinds have the accepted names.
    Raises UserError for a column that does not exist, for two columns of labels that differ, and for a column group
    that probably holds something else.
    """
    for kind, names in named.items():
        for name in names:
            if name not in frame.header:
                raise UserError(
                    f"--columns {kind}={name}: {frame.file} has no column {name!r}{did_you_mean(name, frame.header)}"
                )
    by_lower = {name.lower(): name for name in frame.header}
    taken = {name for names in named.values() for name in names}
    chosen, notes = dict(named), []
    for kind, accepted in COLUMNS.items():
        present = [by_lower[one] for one in accepted if one in by_lower and by_lower[one] not in taken]
        if kind not in named:
            chosen[kind] = tuple(present if kind == "group" else present[:1])
    if chosen["labels"]:
        chosen["label"] = ()
    elif "label" not in named:
        if chosen["label"]:
            notes += _check_rivals(frame, [by_lower[name] for name in _RIVALS if name in by_lower])
            read = {*_RIVALS, chosen["label"][0].lower()}
            if others := [name for name in _like_labels(frame, taken) if name.lower() not in read]:
                notes.append(f"not read as labels: {', '.join(others)} (--columns label=NAME)")
        else:
            chosen["label"], notes = _one_hot(frame, taken | {name for names in chosen.values() for name in names})
    if "group" not in named:
        _check_group_column(frame, chosen["group"])
    if "split" not in named and chosen["split"] and by_lower.get("split") != chosen["split"][0]:
        column = chosen["split"][0]  # "part" may be a part of the body
        values = {cell.lower() for cell in frame.known(column)} - {""}
        if values.isdisjoint(SPLITS):
            chosen["split"] = ()
            notes.append(f"{column} is not read: its values are no splits ({some(sorted(values))})")
    return chosen, notes


def _check_rivals(frame: Frame, columns: Sequence[str]) -> list[str]:
    """Raise UserError unless all columns of labels say the same."""
    for first, second in pairwise(columns):
        cells = list(zip(spelled(frame.known(first)), spelled(frame.known(second)), strict=True))
        seconds, firsts = defaultdict(set), defaultdict(set)
        for one, other in cells:
            seconds[one].add(other)
            firsts[other].add(one)
        for row, (one, other) in enumerate(cells):
            if (one == "") != (other == "") or len(seconds[one]) > 1 or len(firsts[other]) > 1:
                raise UserError(
                    f"{frame.place(row)}: {first} is {one!r} and {second} is {other!r}: both may be the labels, and "
                    f"they differ; name one with --columns label={first} or --columns label={second}"
                )
    return [f"labels: {columns[0]}, which {' and '.join(columns[1:])} repeat"] if len(columns) > 1 else []


def _check_group_column(frame: Frame, columns: Sequence[str]) -> None:
    """Raise UserError for a column named group with a few large values: the arms of a study."""
    for column in columns:
        sizes = Counter(filter(None, frame.known(column)))
        if column.lower() == "group" and sizes and len(sizes) <= 5 and sum(sizes.values()) > 5 * len(sizes):
            raise UserError(
                f"{frame.file}: the column {column} has only {len(sizes)} values ({some(sizes)}), the largest of "
                f"{max(sizes.values()):,} images: if these are lesions or patients, which are never split, give "
                f"--columns group={column}, else another column, or --columns group= for none"
            )


def _one_hot(frame: Frame, taken: set[str]) -> tuple[tuple[str, ...], list[str]]:
    """The longest run of 0/1 columns of which exactly one is 1 in every row, or none and a line about labels."""
    binary = [name for name in frame.header if name not in taken and is_binary(frame.cells(name))]
    ones = [are_ones(frame.cells(name)) for name in binary]
    sums = np.cumsum([[False] * len(frame), *ones], axis=0)
    runs = [
        (start, end)
        for start in range(len(binary))
        for end in range(start + 2, len(binary) + 1)
        if len(frame) and (sums[end] - sums[start] == 1).all()
    ]
    if runs:
        start, end = max(runs, key=lambda run: run[1] - run[0])
        return tuple(binary[start:end]), [f"labels: the 0/1 columns {some(binary[start:end])}"]
    like = _like_labels(frame, taken)
    hint = [f"--columns label={name}" for name in like] or ["--columns label=NAME"]
    if len(binary) > 1:
        kind = "label" if (sums[-1] <= 1).all() else "labels"
        hint.append(f"--columns {kind}={'+'.join(binary)} (one 0/1 column per class)")
    return (), [f"no labels are read from the columns {', '.join(frame.header)}: give {' or '.join(hint)}"]


def _like_labels(frame: Frame, taken: set[str]) -> list[str]:
    """Columns that may hold labels, by their names."""
    return [name for name in frame.header if name not in taken and any(one in name.lower() for one in _LIKE_LABELS)]


def splits_of(frame: Frame, columns: Sequence[str]) -> list[str | None]:
    """The split of each row. Raises UserError for other words than those of `SPLITS`."""
    if not columns:
        return [None] * len(frame)
    (column,) = columns[:1]
    cells = [cell.lower() for cell in frame.known(column)]
    for row, cell in enumerate(cells):
        if cell and cell not in SPLITS:
            raise frame.fault(
                row,
                column,
                f"one of {', '.join(SPLITS)} (--columns split=NAME is another column, split= none)",
            )
    return [SPLITS.get(cell) for cell in cells]
