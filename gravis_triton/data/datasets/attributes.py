"""What a dataset's tables say about its images besides label and split, such as age, sex or skin tone."""

import csv
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

from gravis_triton.data.datasets.hub import hub_rows
from gravis_triton.errors import UserError, did_you_mean

Attributes = Mapping[str, Mapping[str, str]]
"""Column -> image id -> value."""
Rows = Callable[[], Iterator[list[str]]]
"""Reads a table anew: the names of its columns, then its rows."""

_SUFFIXES = (".csv", ".tsv", ".tab", ".parquet")
_UNKNOWN = frozenset({"", "-1", "na", "n/a", "<na>", "nan", "none", "null", "unknown"})


def read_attributes(data: str, columns: Sequence[str], ids: Iterable[str]) -> Attributes:
    """The known values of the columns for the images with these ids.

    data: as in `open_collection`; of a directory, all tables in and below it are read. The column of a table that names
    most of the images, by id or file name, says which image a row is about; the first row of an image counts.
    Raises UserError for a column that no table has for any of the images.
    """
    images = _by_name(ids)
    found: dict[str, dict[str, str]] = {column: {} for column in columns}
    others: list[str] = []
    for rows in _tables(data) if columns else ():
        header = next(rows(), [])
        others += header
        places = {column: header.index(column) for column in columns if column in header}
        image_column = _image_column(rows, images) if places else None
        if image_column is None:
            continue
        for cells in rows():
            image = _image(cells[image_column], images) if len(cells) == len(header) else None
            for column, place in places.items():
                if image is not None and cells[place].lower() not in _UNKNOWN:
                    found[column].setdefault(image, cells[place])
    for column, values in found.items():
        if not values:
            known = f"; there are {', '.join(dict.fromkeys(others))}" if others else ""
            hint = did_you_mean(column, others) or known
            raise UserError(f"--by {column}: no table in {data} has this column for its images{hint}")
    return found


def _tables(data: str) -> list[Rows]:
    if data.startswith("hf:"):
        rows = list(hub_rows(data.removeprefix("hf:")))
        return [lambda: iter(rows)]
    path = Path(os.path.abspath(Path(data).expanduser()))
    folders = (
        [(path.parent, [path.name])]
        if path.is_file()
        else [(Path(at), names) for at, _, names in os.walk(path)]
    )
    files = [at / name for at, names in folders for name in names if name[0] != "."]
    return [partial(_read, file) for file in sorted(files) if file.suffix.lower() in _SUFFIXES]


def _read(file: Path) -> Iterator[list[str]]:
    if file.suffix.lower() != ".parquet":
        try:
            with file.open(encoding="utf-8-sig", newline="") as stream:
                delimiter = max(",;\t", key=stream.readline().count)
                stream.seek(0)
                yield from csv.reader(stream, delimiter=delimiter)
        except (csv.Error, UnicodeDecodeError) as error:
            raise UserError(f"{file}: cannot be read as a UTF-8 CSV file: {error}") from error
        return
    opened = pyarrow.parquet.ParquetFile(file)
    plain = [field.name for field in opened.schema_arrow if not pa.types.is_nested(field.type)]
    yield plain
    for batch in opened.iter_batches(columns=plain):
        for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            yield ["" if value is None else str(value) for value in row]


def _names(name: str) -> tuple[str, str, str]:
    """What an image may be called: its path, its file name, and that without its suffix."""
    file = name.replace("\\", "/").rpartition("/")[2]
    return name, file, file.rpartition(".")[0] or file


def _by_name(ids: Iterable[str]) -> dict[str, str]:
    """Name -> id of the only image that is called so."""
    found: dict[str, set[str]] = {}
    for image in ids:
        for name in _names(image):
            found.setdefault(name, set()).add(image)
    return {name: next(iter(images)) for name, images in found.items() if len(images) == 1}


def _image(cell: str, images: Mapping[str, str]) -> str | None:
    return next((images[name] for name in _names(cell) if name in images), None)


def _image_column(rows: Rows, images: Mapping[str, str]) -> int | None:
    """The index of the column that names most of the images; None if none names any."""
    named: dict[int, set[str]] = {}
    for cells in rows():
        for place, cell in enumerate(cells):
            image = _image(cell, images)
            if image is not None:
                named.setdefault(place, set()).add(image)
    return max(named, key=lambda place: (len(named[place]), -place), default=None)
