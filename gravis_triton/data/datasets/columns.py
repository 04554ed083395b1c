"""Which columns of a table hold images, labels, groups, masks and splits, and what they say about each image."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np

from gravis_triton.data.datasets.frame import Frame
from gravis_triton.data.datasets.labels import are_ones, is_binary, some, spelled
from gravis_triton.errors import UserError, did_you_mean

COLUMNS = {
    "image": ("image", "image_path", "image_id", "image_name", "isic_id", "file_name", "filename", "file", "path"),
    "label": ("label", "class", "diagnosis", "dx", "target", "malignant", "benign_malignant"),
    "labels": (),
    "group": ("patient_id", "subject_id", "lesion_id", "patient", "lesion", "group"),
    "mask": ("mask", "mask_path", "segmentation"),
    "split": ("split", "part", "subset"),
}  # fmt: skip
"""Kind of column -> accepted names, also as "Image ID" or ImageID: the first present one counts, for groups all;
`columns` names others. labels: any number of classes per image."""

SPLITS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}

_RIVALS = (COLUMNS["label"][:5], COLUMNS["label"][5:])  # of each only one can be meant
_LIKE_LABELS = ("diagnos", "label", "malignan", "class", "disease", "dx", "target", "condition", "category")

_ID = r"[\W_]*(u?id|no|nr|num|number|code|key)"
_LIKE_GROUPS = re.compile(
    rf"(patient|lesion|subject|case|person|participant)({_ID})?|(pat|p|study|individual){_ID}|mrn"
)
_LIKE_SPLITS = re.compile(r"split|fold|phase|usage|partition|(^|[\W_]|data)set$|^(is[\W_]*)?(train|test|valid)(ing)?$")

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
    taken = {name for names in named.values() for name in names}
    free = [name for name in frame.header if name not in taken]
    chosen = dict(named)
    notes: list[str] = []
    for kind, accepted in COLUMNS.items():
        if kind not in named:
            present = columns_named(free, accepted)
            chosen[kind] = tuple(present if kind == "group" else present[:1])
    if "split" not in named:
        chosen["split"], notes = _split_column(frame, free)
    if chosen["labels"]:
        chosen["label"] = ()
    elif "label" not in named:
        free = [name for name in free if not any(name in names for kind, names in chosen.items() if kind != "label")]
        chosen["label"], told = _label_columns(frame, free, chosen["label"])
        notes += told
    if "group" not in named:
        _check_group_column(frame, chosen["group"])
        like = [name for name in frame.header if _LIKE_GROUPS.fullmatch(name.lower())]
        if others := [name for name in like if not any(name in names for names in chosen.values())]:
            notes.append(f"not read as groups: {', '.join(others)} (--columns group=NAME)")
    return chosen, notes


def columns_named(header: Sequence[str], accepted: Iterable[str]) -> list[str]:
    """The columns that have one of the accepted names, but for capitals, spaces and signs, in their order."""
    plain = {_plain(name): name for name in reversed(header)}
    return [plain[_plain(name)] for name in accepted if _plain(name) in plain]


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.lower())


def _label_columns(frame: Frame, free: Sequence[str], named: tuple[str, ...]) -> tuple[tuple[str, ...], list[str]]:
    """(the column with an accepted name, or 0/1 columns, lines for the user)."""
    if not named:
        return _one_hot(frame, free)
    rivals = next((one for names in _RIVALS if named[0] in (one := columns_named(free, names))), list(named))
    notes = _check_rivals(frame, rivals)
    if others := [name for name in like_labels(free) if name not in rivals]:
        notes.append(f"not read as labels: {', '.join(others)} (--columns label=NAME)")
    return named, notes


def _split_column(frame: Frame, free: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
    """(the column of splits, lines for the user): by an accepted name, else a like one whose values are splits."""
    named = columns_named(free, COLUMNS["split"])
    notes: list[str] = []
    like = [name for name in free if _LIKE_SPLITS.search(name.lower()) and not like_labels([name])]
    for column in dict.fromkeys([*named, *like]):
        values = {cell.lower() for cell in frame.known(column)} - {""}
        splits = values & SPLITS.keys()
        if _plain(column) == "split" or (splits and (column in named or splits == values)):
            return (column,), notes
        if values:  # "part" may be a part of the body
            notes.append(f"{column} is not read: its values are no splits ({some(sorted(values))})")
    return (), notes


def _check_rivals(frame: Frame, columns: Sequence[str]) -> list[str]:
    """Raise UserError unless all columns of labels say the same."""
    for first, second in pairwise(columns):
        cells = list(zip(spelled(frame.known(first)), spelled(frame.known(second)), strict=True))
        firsts, seconds = map(Counter, zip(*set(cells), strict=True)) if cells else (Counter(), Counter())
        for row, (one, other) in enumerate(cells):
            if (one == "") != (other == "") or firsts[one] > 1 or seconds[other] > 1:
                raise UserError(
                    f"{frame.place(row)}: {first} is {one!r} and {second} is {other!r}: both may be the labels, and "
                    f"they differ; name one with --columns label={first} or --columns label={second}"
                )
    return [f"labels: {columns[0]}, which {' and '.join(columns[1:])} repeat"] if len(columns) > 1 else []


def _check_group_column(frame: Frame, columns: Sequence[str]) -> None:
    """Raise UserError for a column named group or lesion with a few large values: arms of a study, kinds of lesions."""
    for column in columns:
        sizes = Counter(filter(None, frame.known(column)))
        is_plain = _plain(column) == "group" or (_plain(column) == "lesion" and not any(map(str.isdecimal, sizes)))
        if is_plain and len(sizes) <= 5 and sum(sizes.values()) > 5 * len(sizes):
            raise UserError(
                f"{frame.file}: the column {column} has only {len(sizes)} values ({some(sizes)}), the largest of "
                f"{max(sizes.values()):,} images: if these are lesions or patients, which are never split, give "
                f"--columns group={column}, else another column, or --columns group= for none"
            )


def _one_hot(frame: Frame, free: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
    """The longest run of 0/1 columns of which exactly one is 1 in every row, or none and a line about labels.

    Raises UserError if there are two.
    """
    cells = {name: frame.known(name) for name in free if not _LIKE_SPLITS.search(name.lower())}
    binary = [name for name, column in cells.items() if any(column) and is_binary({*column} - {""})]
    ones, known = ([read(cells[name]) for name in binary] for read in (are_ones, lambda column: [*map(bool, column)]))
    sums, knowns = (np.cumsum([[False] * len(frame), *each], axis=0) for each in (ones, known))
    runs = [
        binary[start:end]
        for start in range(len(binary))
        for end in range(start + 2, len(binary) + 1)
        if len(frame) and ((sums[end] - sums[start] == 1) | (knowns[end] == knowns[start])).all()
    ]
    runs.sort(key=len, reverse=True)
    apart = [run for run in runs if not set(run) & set(runs[0])]
    if apart and len(apart[0]) == len(runs[0]):
        choices = " or ".join(f"--columns label={'+'.join(run)}" for run in (runs[0], apart[0]))
        raise UserError(
            f"{frame.file}: two groups of 0/1 columns may be the labels; give {choices}, or label= for none"
        )
    if runs:
        rivals = [f"not read as labels: {some(apart[0])} (--columns label=A+B)"] if apart else []
        if others := like_labels([name for name in free if name not in binary]):
            rivals.append(f"not read as labels: {', '.join(others)} (--columns label=NAME)")
        return tuple(runs[0]), [f"labels: the 0/1 columns {some(runs[0])}", *rivals]
    like = like_labels(free) or [name for name in free if _has_few_values(frame, name)][:5]
    hint = [f"--columns label={name}" for name in like] or ["--columns label=NAME"]
    if len(binary) > 1:
        kind = "label" if (sums[-1] <= 1).all() else "labels"
        hint.append(f"--columns {kind}={'+'.join(binary)} (one 0/1 column per class)")
    return (), [f"no labels are read from the columns {', '.join(frame.header)}: give {' or '.join(hint)}"]


def like_labels(names: Sequence[str]) -> list[str]:
    """Columns that may hold labels, by their names."""
    return [name for name in names if any(one in name.lower() for one in _LIKE_LABELS)]


def _has_few_values(frame: Frame, column: str) -> bool:
    """Whether a column may hold classes: 0 and 1, or a few words."""
    values = set(frame.known(column)) - {""}
    has_words = not any(value[-1:].isdigit() for value in values)
    return 1 < len(values) <= len(frame) / 2 and (is_binary(values) or (has_words and len(values) <= 50))


def splits_of(frame: Frame, columns: Sequence[str]) -> list[str | None]:
    """The split of each row. Raises UserError for other words than those of `SPLITS`."""
    if not columns:
        return [None] * len(frame)
    (column,) = columns[:1]
    cells = [cell.lower() for cell in frame.known(column)]
    expected = f"one of {', '.join(SPLITS)} (--columns split=NAME is another column, split= none)"
    frame.check(column, cells, {"", *SPLITS}, expected)
    return [SPLITS.get(cell) for cell in cells]
