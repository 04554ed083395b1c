"""Images listed in a CSV or Parquet table."""

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.parquet

from gravis_triton.data.datasets.csv_table import Row, read_table
from gravis_triton.data.datasets.folder import (
    SPLIT_FOLDERS,
    check_no_masks,
    images_below,
    mask_key,
    pair_masks,
    split_folders,
)
from gravis_triton.data.datasets.groups import joined_groups
from gravis_triton.data.datasets.records import Collection, Record
from gravis_triton.data.datasets.references import ImageFile, MaskFile
from gravis_triton.errors import UserError, did_you_mean

TABLE_SUFFIXES = (".csv", ".tsv", ".parquet")

OUTPUT_KEY = b"gravis_triton"
"""Metadata key of the Parquet files that jobs write, with a fingerprint of what the rows depend on."""

COLUMNS = {
    "image": ("image", "image_path", "image_id", "image_name", "isic_id", "file_name", "filename", "file", "path"),
    "label": ("label", "class", "diagnosis", "dx", "target"),
    "group": ("patient_id", "lesion_id", "patient", "lesion", "group"),
    "mask": ("mask", "mask_path", "segmentation"),
    "split": ("split", "part", "subset"),
}  # fmt: skip
"""Kind of column -> accepted names: the first present one counts, for groups all; `columns` names others."""

_UNKNOWN = frozenset(
    {
        "NA",
        "N/A",
        "n/a",
        "<NA>",
        "#N/A",
        "#N/A N/A",
        "#NA",
        "NaN",
        "nan",
        "-NaN",
        "-nan",
        "NULL",
        "null",
        "None",
    }
)
"""Marks of unknown values that spreadsheets and R write, and pandas reads as such."""


def table_in(directory: Path) -> Path | None:
    """The only CSV or Parquet file directly in `directory`, if any, except features that `gravis embed` has written.

    Raises UserError for several, and for shards.
    """
    tables = sorted(
        file
        for file in directory.iterdir()
        if file.suffix.lower() in TABLE_SUFFIXES and file.name[0] != "." and not _is_output(file)
    )
    if len(tables) > 1:
        for file in tables:
            _refuse_shard(file)
        names = ", ".join(file.name for file in tables)
        raise UserError(
            f"{directory} holds {len(tables)} tables ({names}): give one of these files as --data"
        )
    return tables[0] if tables else None


def open_table(file: Path, columns: str | None = None, *, unlisted: bool = False) -> Collection:
    """The images that a CSV or Parquet table lists, one per row.

    The image column holds paths, relative to the table or absolute, or names or ids of images below its directory.
    Masks come from the mask column and splits from the split column, else from folders (see `open_folder`).
    columns: "image=NAME,label=NAME,..." for columns whose names are not in `COLUMNS`.
    unlisted: also include images below the table's directory that it does not list, without a label.
    Raises UserError for a missing column, image or mask, an image listed twice, an unknown split, and masks among the
    images that are not listed.
    """
    rows = _rows(file)
    names = _column_names(file, list(rows[0].cells) if rows else [], columns)
    paths = sorted(images_below(file.parent))
    image_paths = [path for path in paths if mask_key(path) is None]
    images = _Finder(file.parent, image_paths)
    masks = _Finder(file.parent, [path for path in paths if mask_key(path) is not None] or paths)
    paired = {} if "mask" in names else pair_masks(file.parent, paths)
    classes = _classes(rows, names.get("label"))
    groups = _groups(rows, names.get("group"), named="group" in _named(columns))
    records: dict[Path, Record] = {}
    for row, group in zip(rows, groups, strict=True):
        values = {what: row.cells[name] for what, name in names.items()}
        image = images.find(row, names["image"])
        if image in records:
            raise row.fault(names["image"], "an image that no other row lists")
        mask = masks.find(row, names["mask"]) if values.get("mask") else paired.get(image)
        split = values.get("split", "").lower()
        if split and split not in SPLIT_FOLDERS:
            raise row.fault(names["split"], f"one of {', '.join(SPLIT_FOLDERS)}")
        records[image] = Record(
            id=_id(image, file.parent),
            image=ImageFile(image),
            label=classes.index(values["label"]) if values.get("label") else None,
            group=group,
            split=SPLIT_FOLDERS.get(split),
            mask=None if mask is None else MaskFile(mask, image),
        )
    if "mask" in names:  # masks among the images are not images
        drawn = {record.mask.path for record in records.values() if isinstance(record.mask, MaskFile)}
        image_paths = [path for path in image_paths if file.parent / path not in drawn]
    if unlisted:
        check_no_masks(file.parent, image_paths)
        for image in (file.parent / path for path in image_paths):
            mask = paired.get(image)
            more = Record(
                _id(image, file.parent),
                ImageFile(image),
                mask=None if mask is None else MaskFile(mask, image),
            )
            records.setdefault(image, more)
    found = list(records.values())
    if "split" not in names:
        splits = split_folders(file.parent, [PurePosixPath(record.id) for record in found])
        found = [replace(record, split=split) for record, split in zip(found, splits, strict=True)]
    name = file.parent.name if unlisted else file.stem
    return Collection(name, tuple(found), classes=classes, scored_classes=classes)


@contextmanager
def _as_parquet(file: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(f"{file}: cannot be read as a Parquet file: {error}") from error


def _is_output(file: Path) -> bool:
    """Whether a job has written this table."""
    if file.suffix.lower() != ".parquet":
        return False
    with _as_parquet(file):
        return OUTPUT_KEY in (pyarrow.parquet.read_schema(file).metadata or {})


def _refuse_shard(file: Path) -> None:
    """Raise UserError for a Parquet file that holds the images themselves."""
    if file.suffix.lower() != ".parquet":
        return
    with _as_parquet(file):
        schema = pyarrow.parquet.read_schema(file)
    if any(pa.types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0 for field in schema):
        raise UserError(
            f"{file} is a shard that holds its images: give --data hf:{file.parent}, "
            f"or for pre-training --data {file.parent} --streaming"
        )


def _rows(file: Path) -> list[Row]:
    if file.suffix.lower() != ".parquet":
        return [
            replace(row, cells={name: _known(cell) for name, cell in row.cells.items()})
            for row in read_table(file, ())
        ]
    _refuse_shard(file)
    with _as_parquet(file):
        table = pyarrow.parquet.read_table(file)
    plain = [field.name for field in table.schema if not pa.types.is_nested(field.type)]
    rows = table.select(plain).to_pylist()
    return [
        Row(file, number, {name: "" if value is None else _known(str(value)) for name, value in row.items()})
        for number, row in enumerate(rows, start=1)
    ]


def _known(cell: str) -> str:
    """The cell, stripped; "" for the marks of unknown values that R and pandas write."""
    cell = cell.strip()
    return "" if cell in _UNKNOWN else cell


def _named(columns: str | None) -> dict[str, str]:
    return dict(part.partition("=")[::2] for part in columns.split(",")) if columns else {}


def _column_names(file: Path, header: Sequence[str], columns: str | None) -> dict[str, str]:
    """What a column holds -> its name in the table."""
    named = _named(columns)
    for what, name in named.items():
        if what not in COLUMNS:
            raise UserError(f"--columns {columns}: unknown {what!r}; expected {', '.join(COLUMNS)}")
        if name not in header:
            raise UserError(f"--columns {columns}: {file} has no column {name!r}{did_you_mean(name, header)}")
    by_lower = {name.lower(): name for name in header}
    for what, accepted in COLUMNS.items():
        found = next((by_lower[one] for one in accepted if one in by_lower), None)
        if what not in named and found is not None and found not in named.values():
            named[what] = found
    if "image" not in named:
        raise UserError(
            f"{file}: no image column among {', '.join(header) or 'no columns'} (accepted: "
            f"{', '.join(COLUMNS['image'])}); name it with --columns image=NAME, or move the table elsewhere"
        )
    return named


def _classes(rows: Iterable[Row], column: str | None) -> tuple[str, ...]:
    values = {row.cells[column] for row in rows} - {""} if column else set()
    return tuple(sorted(values, key=int if all(map(str.isdecimal, values)) else None))


def _groups(rows: Sequence[Row], column: str | None, *, named: bool) -> list[str | None]:
    """The group of each row: by the named column, else by all columns of patients or lesions."""
    if column is None:
        return [None] * len(rows)
    told = [name for name in rows[0].cells if name.lower() in COLUMNS["group"]] if rows else []
    columns = [column] if named else sorted(told, key=lambda name: COLUMNS["group"].index(name.lower()))
    return joined_groups({name: [row.cells[name] for row in rows] for name in columns})


def _id(image: Path, directory: Path) -> str:
    """The path relative to the table's directory; for an image elsewhere, its full path without the first slash."""
    path, around = (Path(os.path.abspath(one)) for one in (image, directory))
    return (path.relative_to(around) if path.is_relative_to(around) else Path(*path.parts[1:])).as_posix()


def _normal(name: str) -> str:
    """The name as all systems write it: Windows has backslashes, and macOS splits umlauts into letter and accent."""
    return unicodedata.normalize("NFC", name).replace("\\", "/")


class _Finder:
    """Find files by what a table calls them: a path, a name, or a name without its suffix."""

    def __init__(self, directory: Path, paths: Iterable[PurePosixPath]) -> None:
        self._directory = directory
        self._by_name: dict[str, list[Path]] = defaultdict(list)
        for path in paths:
            for name in {path.name, path.stem, path.as_posix(), path.with_suffix("").as_posix()}:
                self._by_name[_normal(name)].append(directory / path)

    def find(self, row: Row, column: str) -> Path:
        """The file that a cell names. Raises UserError if there is none or more than one."""
        name = row.cells[column]
        if name and os.path.isfile(self._directory / name):  # False for a name that is too long
            return Path(self._directory / name)
        found = self._by_name.get(_normal(name), [])
        if len(found) > 1:
            raise row.fault(column, f"a path that matches only one file (such as {found[0]} or {found[1]})")
        if not found:
            raise row.fault(column, f"an image in or below {self._directory}")
        return found[0]
