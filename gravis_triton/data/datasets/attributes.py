"""What a dataset's tables say about its images besides label and split, such as age, sex or skin tone."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from gravis_triton.data.datasets.folder import walk
from gravis_triton.data.datasets.frame import TABLE_SUFFIXES, Frame, header_of, read_frame
from gravis_triton.data.datasets.hub import hub_table
from gravis_triton.errors import UserError, did_you_mean

Attributes = Mapping[str, Mapping[str, str]]
"""Column -> image id -> value."""

_SAMPLE = 1000  # rows by which a column that names no images is told from one that does


def read_attributes(data: str, columns: Sequence[str], ids: Iterable[str]) -> Attributes:
    """The known values of the columns for the images with these ids.

    data: as in `open_collection`; of a directory, all tables in and below it are read. The column of a table that names
    most of the images, by id or file name, says which image a row is about, as do columns of other images: a row may be
    about several. The first row of an image counts.
    Raises UserError for a column that no table has for any of the images.
    """
    if not columns:
        return {}
    images = _by_name(ids)
    found: dict[str, dict[str, str]] = {column: {} for column in columns}
    seen: dict[str, None] = {}
    for frame in _tables(data, columns, seen):
        named = _named_images(frame, images)
        for column in found.keys() & set(frame.header):
            values = frame.known(column)
            for of_rows in named:
                for image, value in zip(of_rows, values, strict=True):
                    if image is not None and value:
                        found[column].setdefault(image, value)
    for column, of_image in found.items():
        if not of_image:
            others = f"; there are {', '.join(filter(None, seen))}" if seen else ""
            hint = did_you_mean(column, seen) or others
            raise UserError(f"--by {column}: no table in {data} has this column for its images{hint}")
    return found


def _tables(data: str, columns: Sequence[str], seen: dict[str, None]) -> Iterator[Frame]:
    """The tables with any of the columns. seen: gathers the names of all columns."""
    if data.startswith("hf:"):
        frame = Frame(Path(data), hub_table(data.removeprefix("hf:")))
        seen |= dict.fromkeys(frame.header)
        yield frame
        return
    path = Path(os.path.abspath(Path(data).expanduser()))
    files = [path] if path.is_file() else [folder / name for folder, _, names in walk(path) for name in names]
    for file in sorted(files):
        if file == path or (file.suffix.lower() in TABLE_SUFFIXES and file.name[0] != "."):
            header = header_of(file)
            seen |= dict.fromkeys(header)
            if set(columns) & set(header):
                yield read_frame(file)


def _named_images(frame: Frame, images: Mapping[str, str]) -> list[list[str | None]]:
    """The image of each row by each column that names images: by the one that names most, then by those that name only
    others."""
    named = []
    for column in frame.header:
        cells = frame.cells(column)
        if any(_image(cell, images) for cell in cells[:: len(cells) // _SAMPLE + 1]):
            named.append([_image(cell, images) for cell in cells])
    chosen: list[list[str | None]] = []
    taken: set[str | None] = set()
    for of_rows in sorted(named, key=lambda of_rows: len(set(of_rows)), reverse=True):
        own = set(of_rows) - {None}
        if taken.isdisjoint(own):
            chosen.append(of_rows)
            taken |= own
    return chosen


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
