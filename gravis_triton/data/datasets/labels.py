"""What the columns of labels in a table say: the class of each image, or its classes."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain

import numpy as np

from gravis_triton.data.datasets.frame import Frame, is_unknown
from gravis_triton.data.datasets.image_files import composed
from gravis_triton.data.datasets.layouts import Table
from gravis_triton.errors import UserError

_CASES = (10, 3)  # from this many classes with at most this many images each, on average, they are probably cases
_ONES, _ZEROS = ("1", "1.0", "true"), ("0", "0.0", "false")
_SEPARATORS = "|;\n+,/"
_SURE = "|;\n"  # separators that are in no name of a class
_WEIGHT = re.compile(r"""(["'])(.+?)\1\s*:\s*([-+\d.eE]+)""")


def is_binary(cells: Iterable[str]) -> bool:
    """Whether all cells are 0 or 1, or false or true."""
    return {cell.lower() for cell in set(cells)} <= {*_ZEROS, *_ONES}


def are_ones(cells: Iterable[str]) -> list[bool]:
    """Whether each cell is 1 or true."""
    return [cell.lower() in _ONES for cell in cells]


def read_labels(
    frame: Frame, columns: Sequence[str], table: Table, classes: tuple[str, ...] = ()
) -> tuple[tuple[str, ...], list[int | None], list[str]]:
    """(classes, label of each row, lines for the user) by one column, or by one 0/1 column per class.

    table: what the cells mean. classes: of a data set whose rows all have one of them, except those with score_weight
    0, which the challenge's scorer leaves out; default: those found.
    Raises UserError for a row of several classes or of none of `classes`, and for fractions.
    """
    if not columns:
        return (), [None] * len(frame), []
    if len(columns) > 1:
        return classes or tuple(columns), *_by_ones(frame, columns, table, classes)
    if classes:
        return classes, _by_name(frame, columns[0], table, classes), []
    (column,) = columns
    known = frame.known(column)
    marks = Counter(mark for mark, cell in zip(frame.cells(column), known, strict=True) if not cell)
    values = [table.values.get(cell.lower(), _name(cell)) for cell in spelled(known)]
    found = sorted_classes(values)
    _check_classes(frame, column, values, found)
    notes = [] if table.values else describe_spellings(known)
    if marks:
        shown = ", ".join(f"{count:,} {mark!r}" for mark, count in marks.most_common(3))
        notes.append(f"without a label: {sum(marks.values()):,} rows ({column} is {shown})")
    if are_cases(len(found), len(values) - sum(marks.values())):
        notes.append(
            f"warning: {column} has {len(found):,} values in {len(values):,} rows: probably no classes; name another "
            "column with --columns label=NAME"
        )
    index = {name: position for position, name in enumerate(found)}
    return found, [index.get(value) for value in values], notes


def _by_name(frame: Frame, column: str, table: Table, classes: Sequence[str]) -> list[int | None]:
    accepted = table.values or {name.lower(): name for name in classes}
    index: dict[str, int | None] = {cell: classes.index(name) for cell, name in accepted.items()} | {"": None}
    cells = [cell.lower() for cell in spelled(frame.known(column))]
    frame.check(column, cells, index, f"one of {', '.join(accepted)}")
    return [index[cell] for cell in cells]


def _by_ones(
    frame: Frame, columns: Sequence[str], table: Table, classes: Sequence[str]
) -> tuple[list[int | None], list[str]]:
    read = frame.cells if classes else (lambda column: [cell or "0" for cell in frame.known(column)])
    cells = ([table.values.get(cell.lower(), cell) for cell in spelled(read(column))] for column in columns)
    ones = np.array([_ones(frame, column, of_column) for column, of_column in zip(columns, cells, strict=True)])
    counts = ones.sum(axis=0)
    is_scored = np.ones(len(frame), bool)
    if classes and "score_weight" in frame.header:
        is_scored[:] = _ones(frame, "score_weight", spelled(frame.cells("score_weight")))
    least = int(bool(classes) and not table.rest)
    for row in np.flatnonzero(is_scored & ((counts > 1) | (counts < least))).tolist():
        found = " and ".join(column for column, one in zip(columns, ones[:, row], strict=True) if one) or "none"
        hint = (
            "name fewer columns with --columns label=A+B, or one, label=A; --columns labels=A+B reads several per image"
        )
        raise UserError(
            f"{frame.place(row)}: expected {'exactly' if least else 'at most'} one of {', '.join(columns)} to be 1, "
            f"found {found}" + ("" if classes else f"; {hint}")
        )
    labels = np.where(counts > 0, ones.argmax(axis=0), classes.index(table.rest) if table.rest else -1)
    labels[~is_scored] = -1
    none = int(np.count_nonzero(counts == 0))
    notes = (
        [f"without a label: {none:,} rows, in which all of {some(columns)} are 0 or empty"]
        if none and not classes
        else []
    )
    return [None if label < 0 else label for label in labels.tolist()], notes


def _ones(frame: Frame, column: str, cells: Sequence[str]) -> list[bool]:
    """Whether each cell of a 0/1 column is 1."""
    frame.check(column, [cell.lower() for cell in cells], {*_ZEROS, *_ONES}, "0 or 1")
    return are_ones(cells)


def read_multilabels(
    frame: Frame, columns: Sequence[str]
) -> tuple[tuple[str, ...], list[tuple[int, ...] | None], list[str]]:
    """(classes, those of each row, lines for the user) by one 0/1 column per class, or by one column with several names
    in a cell, between the first of `_SEPARATORS` that it has. A row with an unknown cell has no label."""
    cells = [list(map(_name, frame.known(column))) for column in columns]
    if len(columns) > 1 or is_binary({*cells[0], "0"} - {""}):
        known = ([cell or "0" for cell in of_column] for of_column in cells)
        ones = [_ones(frame, column, of_column) for column, of_column in zip(columns, known, strict=True)]
        own = [tuple(np.flatnonzero(row).tolist()) for row in zip(*ones, strict=True)]
        classes, rows = tuple(columns), zip(*cells, strict=True)
        labels = [None if "" in row else places for row, places in zip(rows, own, strict=True)]
        source = f"the 0/1 columns {some(columns)}"
    else:
        separator = next((one for one in _SEPARATORS if any(one in cell for cell in cells[0])), None)
        parts = [[part.strip() for part in cell.split(separator or "\0")] for cell in cells[0]]
        spelling = common_spellings(chain.from_iterable(parts))
        names = [{spelling[part] for part in own} for own in parts]
        classes = tuple(sorted(name for name in set().union(*names) if not is_unknown(name)))
        index = {name: place for place, name in enumerate(classes)}
        labels = [tuple(sorted(index[name] for name in own if name in index)) or None for own in names]
        source = f"{columns[0]}, separated by {separator!r}" if separator else columns[0]
    kinds = {None: "unknown", 0: "none", 1: "one"}
    sizes = Counter(kinds.get(None if label is None else len(label), "several") for label in labels)
    counts = ", ".join(f"{sizes[kind]:,} with {kind}" for kind in ("several", "one", "none") if sizes[kind])
    notes = [f"labels: any number of {len(classes):,} classes per image, by {source}: {counts}"]
    return classes, labels, [*notes, *([f"without a label: {sizes['unknown']:,} rows"] if sizes["unknown"] else [])]


def are_cases(classes: int, images: int) -> bool:
    """Whether so many classes have so few images that they are cases."""
    return classes >= _CASES[0] and images <= _CASES[1] * classes


def _name(cell: str) -> str:
    """The class of most weight in a cell such as {'Eczema': 0.67, 'Acne': 0.33}, "" if several have; the names in one
    such as ['Eczema', 'Acne'] without signs; or the cell."""
    if cell[:1] == "[":
        return re.sub(r"""[]["']""", "", cell)
    if cell[:1] != "{":
        return cell
    weights = {name: float(weight) for _, name, weight in _WEIGHT.findall(cell)}
    most = [name for name, weight in weights.items() if weight == max(weights.values())]
    return most[0] if len(most) == 1 else ""


def sorted_classes(cells: Iterable[str]) -> tuple[str, ...]:
    """The names in the cells in order, numbers by their size."""
    names = set(cells) - {""}
    return tuple(sorted(names, key=int if all(map(str.isdecimal, names)) else None))


def spelled(cells: Sequence[str]) -> list[str]:
    """The cells, with whole numbers in one spelling if all are numbers, likewise false and true, and names that differ
    by capitals in the most common one."""
    names = set(cells) - {""}
    if {name.lower() for name in names} <= {"false", "true"}:
        return [cell.capitalize() for cell in cells]
    if all(map(_is_number, names)):
        spelling = {name: str(int(float(name))) for name in names if float(name).is_integer()}
    else:
        spelling = common_spellings(cells)
    return [spelling.get(cell, cell) for cell in cells]


def common_spellings(names: Iterable[str]) -> dict[str, str]:
    """Each name -> the most common one of those that differ from it by capitals at most."""
    counts = Counter(names)
    common = {_folded(name): name for name in sorted(counts, key=lambda name: (counts[name], name))}
    return {name: common[_folded(name)] for name in counts}


def _folded(name: str) -> str:
    return composed(name).casefold()


def alike_names(names: Iterable[str], key: Callable[[str], str] = str.casefold) -> list[str]:
    """ "A and B" for names with the same key: by default those that differ by capitals."""
    alike: dict[str, list[str]] = defaultdict(list)
    for name in names:
        alike[key(name)].append(name)
    return [" and ".join(same) for same in alike.values() if len(same) > 1]


def describe_spellings(names: Iterable[str]) -> list[str]:
    """A line for the user about names that differ by capitals, if any."""
    alike = alike_names(sorted(set(names)))
    return [f"read as one class each, but for capitals: {some(alike)}"] if alike else []


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _check_classes(frame: Frame, column: str, values: Sequence[str], classes: Sequence[str]) -> None:
    """Raise UserError for fractions, and for names of several classes in one cell."""
    numbers = all(_is_number(name.replace(",", ".").removesuffix("%")) for name in classes)
    listed = {name for name, cell in zip(values, frame.cells(column), strict=True) if cell[:1] == "[" and "," in cell}
    for name in classes:
        if numbers and not name.lstrip("-").isdecimal():
            raise UserError(
                f"{frame.place(values.index(name))}: {column} has fractions such as {name}, not classes: "
                "name another column with --columns label=NAME"
            )
        for separator in _SEPARATORS:
            parts = {part.strip() for part in name.split(separator)} - {""}
            known = parts & set(classes)
            if len(parts) > 1 and (
                separator in _SURE or name in listed or (known if separator == "+" else known == parts)
            ):
                raise UserError(
                    f"{frame.place(values.index(name))}: {column} is {name!r}, several classes in one cell; an image "
                    "has one: correct these cells, leave them empty, or name another column with --columns label=NAME; "
                    f"--columns labels={column} reads several per image"
                )


def some(names: Mapping[str, int] | Sequence[str]) -> str:
    """The first eight names."""
    return ", ".join([*list(names)[:8], *(["..."] if len(names) > 8 else [])])
