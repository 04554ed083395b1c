"""What a dataset's tables say about its images besides label and split, such as age, sex or skin tone."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from gravis_triton.data.datasets.finder import Finder
from gravis_triton.data.datasets.folder import walk
from gravis_triton.data.datasets.frame import TABLE_SUFFIXES, Frame, header_of, read_frame
from gravis_triton.data.datasets.hub import hub_table
from gravis_triton.data.datasets.image_files import stem_of
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
    finder = Finder(Path(), ids)
    found: dict[str, dict[str, str]] = {column: {} for column in columns}
    seen: dict[str, None] = {}
    for frame in _tables(data, columns, seen):
        named = _named_images(frame, finder)
        for column in found.keys() & set(frame.header):
            for of_rows in named:
                for image, value in zip(of_rows, frame.known(column), strict=True):
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


def _named_images(frame: Frame, finder: Finder) -> list[list[str | None]]:
    """The image of each row by each column that names images: by the one that names most, then by those that name only
    others."""

    def images(cells: Sequence[str]) -> list[str | None]:
        matches = (finder.match(cell) or finder.match(stem_of(cell)) for cell in cells)  # ids may have no suffix
        return [found[0] if len(found) == 1 else None for found in matches]

    cells = [frame.cells(column) for column in frame.header]
    named = [images(column) for column in cells if any(images(column[:: len(column) // _SAMPLE + 1]))]
    chosen: list[list[str | None]] = []
    taken: set[str | None] = set()
    for of_rows in sorted(named, key=lambda of_rows: len(set(of_rows)), reverse=True):
        own = set(of_rows) - {None}
        if taken.isdisjoint(own):
            chosen.append(of_rows)
            taken |= own
    return chosen
