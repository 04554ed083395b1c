"""Reading the label and group files of known data sets: image id -> class index, image id -> lesion or patient."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from gravis_triton.data.datasets.frame import Frame, read_frame
from gravis_triton.data.datasets.layouts import TableFile
from gravis_triton.errors import UserError


def read_label_file(file: Path, layout: TableFile, classes: Sequence[str]) -> dict[str, int]:
    """Image or lesion id -> index into `classes`.

    Rows with score_weight 0, which marks ISIC 2019 test images that are not scored, and marks of unknown values give no
    label. Raises UserError for a row of another class, of none or of several, and for an id in two rows.
    """
    columns = layout.columns
    frame = read_frame(file, [layout.key, *(columns if len(columns) > 1 else ())], names=layout.names)
    if len(columns) == 1 and columns[0] not in frame.header:  # a test split whose labels are not published
        return {}
    rows = _rows_by_id(frame, layout.key)
    scored = _ones(frame, "score_weight") if "score_weight" in frame.header else [True] * len(frame)
    if len(columns) == 1:
        values = layout.values or {name.lower(): position for position, name in enumerate(classes)}
        labels = _named(frame, columns[0], values, layout.names)
    else:
        labels = _one_hot(frame, layout, scored)
    return {key: label for key, row in rows.items() if (label := labels[row]) is not None and scored[row]}


def read_columns(file: Path, layout: TableFile) -> dict[str, dict[str, str]]:
    """Column that the file has -> image id -> cell. Raises UserError for an id in two rows."""
    frame = read_frame(file, [layout.key])
    ids = _rows_by_id(frame, layout.key)
    present = [column for column in layout.columns if column in frame.header]
    return {column: dict(zip(ids, frame.cells(column), strict=True)) for column in present}


def _named(frame: Frame, column: str, values: Mapping[str, int], names: Sequence[str]) -> list[int | None]:
    cells = [cell.lower() for cell in frame.known(column)]
    for row, cell in enumerate(cells):
        if cell and cell not in values:
            if names:  # a file without a header
                found = ",".join(frame.cells(name)[row] for name in names)
                raise UserError(
                    f"{frame.place(row)}: expected an image id and one of {', '.join(values)}, found {found!r}"
                )
            raise frame.fault(row, column, f"one of {', '.join(values)}")
    return [values.get(cell) for cell in cells]


def _one_hot(frame: Frame, layout: TableFile, scored: Sequence[bool]) -> list[int | None]:
    columns, rest = layout.columns, layout.rest
    labels: list[int | None] = []
    for row, ones in enumerate(zip(*(_ones(frame, column, layout.values) for column in columns), strict=True)):
        count = sum(ones)
        if scored[row] and not (count == 1 or (count == 0 and rest is not None)):
            found = " and ".join(column for column, one in zip(columns, ones, strict=True) if one) or "none"
            expected = "at most one" if rest is not None else "exactly one"
            raise UserError(f"{frame.place(row)}: expected {expected} of {', '.join(columns)} to be 1, found {found}")
        labels.append(ones.index(True) if count else rest)
    return labels


def _ones(frame: Frame, column: str, others: Mapping[str, int] = MappingProxyType({})) -> list[bool]:
    cells = frame.cells(column)
    values: dict[str, float] = {}
    for cell in set(cells):
        try:
            values[cell] = others[cell.lower()] if cell.lower() in others else float(cell)
        except ValueError:
            values[cell] = -1.0
    if not set(values.values()) <= {0.0, 1.0}:
        row = next(row for row, cell in enumerate(cells) if values[cell] not in (0.0, 1.0))
        raise frame.fault(row, column, "0 or 1")
    return [values[cell] == 1.0 for cell in cells]


def _rows_by_id(frame: Frame, column: str) -> dict[str, int]:
    """Id, without .jpg -> row."""
    rows: dict[str, int] = {}
    for row, cell in enumerate(frame.cells(column)):
        key = cell.removesuffix(".jpg")
        if key in rows:
            first = frame.place(rows[key]).rpartition(" ")[2]
            raise UserError(f"{frame.place(row)}: image id {key} is already on line {first}")
        rows[key] = row
    return rows
