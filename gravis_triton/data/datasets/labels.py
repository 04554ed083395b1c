"""What the columns of labels in a table say: the class of each image, or its classes."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from gravis_triton.data.datasets.frame import Frame, is_unknown
from gravis_triton.errors import UserError

_CASES = (10, 3)  # from this many classes with at most this many images each, on average, they are probably cases
_ONES = ("1", "1.0", "true")
_SEPARATORS = "|;,/+"
_WEIGHT = re.compile(r"""(["'])(.+?)\1\s*:\s*([\d.]+)""")


def is_binary(cells: Iterable[str]) -> bool:
    """Whether all cells are 0 or 1, or false or true."""
    return {cell.lower() for cell in set(cells)} <= {"0", "0.0", "false", *_ONES}


def are_ones(cells: Iterable[str]) -> list[bool]:
    """Whether each cell is 1 or true."""
    return [cell.lower() in _ONES for cell in cells]


def read_labels(
    frame: Frame, columns: Sequence[str], rename: Mapping[str, str]
) -> tuple[tuple[str, ...], list[int | None], list[str]]:
    """(classes, label of each row, lines for the user) by one column, or by one 0/1 column per class.

    rename: cells in lower case -> class. Raises UserError for a row of several classes and for fractions.
    """
    if not columns:
        return (), [None] * len(frame), []
    if len(columns) > 1:
        return tuple(columns), *_labels_of_one_hot(frame, columns)
    (column,) = columns
    marks = Counter(cell for cell, known in zip(frame.cells(column), frame.known(column), strict=True) if not known)
    values = [rename.get(cell.lower(), _heaviest(cell)) for cell in spelled(frame.known(column))]
    classes = sorted(set(values) - {""})
    if classes and all(map(str.isdecimal, classes)):
        classes.sort(key=int)
    _check_classes(frame, column, values, classes)
    notes = []
    if marks:
        shown = ", ".join(f"{count:,} {mark!r}" for mark, count in marks.most_common(3))
        notes.append(f"without a label: {sum(marks.values()):,} rows ({column} is {shown})")
    if are_cases(len(classes), len(values) - sum(marks.values())):
        notes.append(
            f"warning: {column} has {len(classes):,} values in {len(values):,} rows: probably no classes; name another "
            "column with --columns label=NAME"
        )
    index = {name: position for position, name in enumerate(classes)}
    return tuple(classes), [index.get(value) for value in values], notes


def read_multilabels(
    frame: Frame, columns: Sequence[str]
) -> tuple[tuple[str, ...], list[tuple[int, ...] | None], list[str]]:
    """(classes, those of each row, lines for the user) by one 0/1 column per class, or by one column with several names
    in a cell, between the first of `_SEPARATORS` that it has. A row with an unknown cell has no label."""
    cells = [frame.known(column) for column in columns]
    if len(columns) > 1 or is_binary({*cells[0], "0"} - {""}):
        for column, of_column in zip(columns, cells, strict=True):
            _check_binary(frame, column, [cell or "0" for cell in of_column])
        classes, rows = tuple(columns), zip(*cells, strict=True)
        ones = [[place for place, one in enumerate(are_ones(row)) if one] for row in zip(*cells, strict=True)]
        labels = [None if "" in row else tuple(own) for row, own in zip(rows, ones, strict=True)]
        source = f"the 0/1 columns {some(columns)}"
    else:
        separator = next((one for one in _SEPARATORS if any(one in cell for cell in cells[0])), None)
        names = [{part.strip() for part in cell.split(separator)} for cell in cells[0]]
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


def _labels_of_one_hot(frame: Frame, columns: Sequence[str]) -> tuple[list[int | None], list[str]]:
    labels: list[int | None] = [None] * len(frame)
    for position, column in enumerate(columns):
        cells = frame.cells(column)
        _check_binary(frame, column, cells)
        for row, one in enumerate(are_ones(cells)):
            if one:
                if labels[row] is not None:
                    raise UserError(
                        f"{frame.place(row)}: {columns[labels[row] or 0]} and {column} are both 1, but an image has "
                        "one class: name fewer columns with --columns label=A+B, or one, label=A; --columns labels=A+B "
                        "reads several per image"
                    )
                labels[row] = position
    none = labels.count(None)
    return labels, [f"without a label: {none:,} rows, in which all of {some(columns)} are 0"] if none else []


def _check_binary(frame: Frame, column: str, cells: Sequence[str]) -> None:
    if not is_binary(cells):
        raise frame.fault(next(row for row, cell in enumerate(cells) if not is_binary([cell])), column, "0 or 1")


def _heaviest(cell: str) -> str:
    """The class of most weight in a cell such as {'Eczema': 0.67, 'Acne': 0.33}, "" if several have; or the cell."""
    if cell[:1] != "{":
        return cell
    weights = {name: float(weight) for _, name, weight in _WEIGHT.findall(cell)}
    most = [name for name, weight in weights.items() if weight == max(weights.values())]
    return most[0] if len(most) == 1 else ""


def spelled(cells: Sequence[str]) -> list[str]:
    """The cells, with whole numbers in one spelling if all are numbers."""
    names = set(cells) - {""}
    if not all(map(_is_number, names)):
        return list(cells)
    spelling = {name: str(int(float(name))) for name in names if float(name).is_integer()}
    return [spelling.get(cell, cell) for cell in cells]


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _check_classes(frame: Frame, column: str, values: Sequence[str], classes: Sequence[str]) -> None:
    """Raise UserError for fractions, and for names of several classes in one cell."""
    numbers = all(map(_is_number, classes))
    for name in classes:
        if numbers and not name.lstrip("-").isdecimal():
            raise UserError(
                f"{frame.place(values.index(name))}: {column} has fractions such as {name}, not classes: "
                "name another column with --columns label=NAME"
            )
        for separator in _SEPARATORS:
            parts = {part.strip() for part in name.split(separator)} - {""}
            known = parts & set(classes)
            if len(parts) > 1 and (known if separator in "|;" else known == parts):
                raise UserError(
                    f"{frame.place(values.index(name))}: {column} is {name!r}, several classes in one cell; an image "
                    "has one: correct these cells, leave them empty, or name another column with --columns label=NAME; "
                    f"--columns labels={column} reads several per image"
                )


def some(names: Mapping[str, int] | Sequence[str]) -> str:
    """The first eight names."""
    return ", ".join([*list(names)[:8], *(["..."] if len(names) > 8 else [])])
