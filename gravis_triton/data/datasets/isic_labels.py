"""Reading the ISIC label and grouping files: image id -> class index, image id -> lesion or patient."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from gravis_triton.data.datasets.csv_table import Row, read_lines, read_table
from gravis_triton.errors import UserError

LabelReader = Callable[[Path], dict[str, int]]
GroupReader = Callable[[Path], dict[str, str]]

Value = TypeVar("Value")


def one_hot(id_column: str, columns: Sequence[str], *, rest: int | None = None) -> LabelReader:
    """A reader of files with one 0/1 column per class, in class order; all 0 is the class `rest`.

    Rows with score_weight 0, which marks ISIC 2019 test images that are not scored, give no label.
    """

    def read(file: Path) -> dict[str, int]:
        rows = [row for row in read_table(file, [id_column, *columns]) if _is_scored(row)]
        return _by_id(((row.line, row.cells[id_column], _position(row, columns, rest)) for row in rows), file)

    return read


def named(id_column: str, column: str, classes: Mapping[str, int]) -> LabelReader:
    """A reader of files whose `column` holds one of the names in `classes`."""

    def value(row: Row) -> int:
        if row.cells[column] not in classes:
            raise row.fault(column, f"one of {', '.join(classes)}")
        return classes[row.cells[column]]

    def read(file: Path) -> dict[str, int]:
        rows = read_table(file, [id_column, column])
        return _by_id(((row.line, row.cells[id_column], value(row)) for row in rows), file)

    return read


def groups(id_column: str, column: str) -> GroupReader:
    """A reader of the `column` that names an image's lesion or patient; an empty cell means none."""

    def read(file: Path) -> dict[str, str]:
        rows = read_table(file, [id_column, column])
        return _by_id(
            ((row.line, row.cells[id_column], row.cells[column]) for row in rows if row.cells[column]), file
        )

    return read


def headless_benign_malignant(file: Path) -> dict[str, int]:
    """ISIC 2016 part 3: two columns without a header; the second is benign or malignant, or 0.0 or 1.0."""
    classes = {"benign": 0, "0.0": 0, "0": 0, "malignant": 1, "1.0": 1, "1": 1}

    def value(line: int, cells: list[str]) -> int:
        if len(cells) != 2 or cells[1].lower() not in classes:
            raise UserError(
                f"{file}, line {line}: expected an image id and one of {', '.join(classes)}, "
                f"found {','.join(cells)!r}"
            )
        return classes[cells[1].lower()]

    return _by_id(((line, cells[0], value(line, cells)) for line, cells in read_lines(file)), file)


def _position(row: Row, columns: Sequence[str], rest: int | None) -> int:
    ones = [position for position, column in enumerate(columns) if _is_one(row, column)]
    if len(ones) == 1:
        return ones[0]
    if not ones and rest is not None:
        return rest
    found = " and ".join(columns[position] for position in ones) or "none"
    expected = "at most one" if rest is not None else "exactly one"
    raise UserError(
        f"{row.file}, line {row.line}: expected {expected} of {', '.join(columns)} to be 1, found {found}"
    )


def _is_scored(row: Row) -> bool:
    return "score_weight" not in row.cells or _is_one(row, "score_weight")


def _is_one(row: Row, column: str) -> bool:
    try:
        value = float(row.cells[column])
    except ValueError:
        value = float("nan")
    if value not in (0.0, 1.0):
        raise row.fault(column, "0 or 1")
    return value == 1.0


def _by_id(rows: Iterable[tuple[int, str, Value]], file: Path) -> dict[str, Value]:
    values: dict[str, Value] = {}
    lines: dict[str, int] = {}
    for line, cell, value in rows:
        image_id = cell.removesuffix(".jpg")
        if image_id in lines:
            raise UserError(f"{file}, line {line}: image id {image_id} is already on line {lines[image_id]}")
        lines[image_id], values[image_id] = line, value
    return values
