"""Images listed in CSV or Parquet tables."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice, pairwise
from pathlib import Path

import pyarrow as pa

from gravis_triton.data.datasets.columns import (
    COLUMNS,
    Chosen,
    choose_columns,
    columns_named,
    named_columns,
    splits_of,
)
from gravis_triton.data.datasets.finder import Finder, join_tables, listed_images
from gravis_triton.data.datasets.folder import (
    archives_hint,
    describe_skipped,
    images_below,
    label_folders,
    split_folders,
    walk,
)
from gravis_triton.data.datasets.frame import TABLE_SUFFIXES, Frame, header_of, parquet_schema, read_frame
from gravis_triton.data.datasets.groups import read_groups
from gravis_triton.data.datasets.image_files import check_no_masks, is_image, mask_key, pair_masks
from gravis_triton.data.datasets.labels import read_labels, read_multilabels, some
from gravis_triton.data.datasets.layouts import Table, layout_of_table
from gravis_triton.data.datasets.records import TOLERATED, Collection, Record
from gravis_triton.data.datasets.references import ImageFile, MaskFile
from gravis_triton.errors import UserError

_LIKE_TABLES = (".xls", ".xlsx", ".ods", ".json", ".jsonl", ".txt", ".mat", ".csv.gz", ".tsv.gz")
_NO_TABLES = ("readme", "licen", "requirements", ".", "~")

OUTPUT_KEY = b"gravis_triton"
"""Metadata key of the Parquet files that jobs write, with a fingerprint of what the rows depend on."""


def tables_in(directory: Path) -> list[Path]:
    """The CSV and Parquet files directly in `directory`, else in a folder below it that has no images, else in the only
    one that has some, except features that `gravis embed` has written. Raises UserError for shards."""
    beside_images = []
    for folder, _, names in walk(directory):
        tables = _tables(folder, names)
        for file in tables:
            refuse_shard(file, directory)
        if tables and (folder == directory or not any(map(is_image, names))):
            return tables
        beside_images += [tables] if tables else []
    return beside_images[0] if len(beside_images) == 1 else []


def other_tables(directory: Path, notes: Sequence[str]) -> list[str]:
    """Files below `directory` that may be tables about its images, and that the lines for the user do not name."""
    told, others = " ".join(notes), []
    for folder, _, names in walk(directory):
        like = [n for n in names if n.lower().endswith(_LIKE_TABLES) or ("." not in n and _is_json(folder / n))]
        files = [*_tables(folder, names), *(folder / name for name in like if not name.lower().startswith(_NO_TABLES))]
        others += [
            file.relative_to(directory).as_posix()
            for file in files
            if not re.search(rf"(?<![\w.-]){re.escape(file.name)}", told)
        ]
    return sorted(others)


def _is_json(file: Path) -> bool:
    """Whether a file without a suffix holds JSON, such as the descriptions of the ISIC Archive."""
    if not file.is_file():  # a broken link, or a pipe, which would be waited for
        return False
    with file.open("rb") as stream:
        return stream.read(1) == b"{"


def labels_images(files: Sequence[Path], directory: Path, images: Sequence[str]) -> bool:
    """Whether tables name images of a directory, by paths relative to it, and their classes."""
    finder = Finder(directory, images)
    if not any(listed_images(read_frame(file), {}, finder) for file in files):
        return False
    return bool(open_table(files, directory=directory).classes)


def lists_images(file: Path) -> bool:
    """Whether a table has a column of images by its name."""
    header = header_of(file)
    return bool(columns_named(header, COLUMNS["image"]) or layout_of_table(header).name)


def open_table(
    files: Sequence[Path],
    columns: str | None = None,
    *,
    directory: Path | None = None,
    images: Path | None = None,
    modality: str | None = None,
) -> Collection:
    """The images that a CSV or Parquet table lists, one per row.

    files: the table, and others beside it, from which columns that it lacks are joined by image or lesion.
    columns: "image=NAME,label=NAME,..." for columns whose names are not in `COLUMNS`.
    directory: also include images below it that the table does not list, without a label.
    images: the folder that holds the images; default: `directory`, else the table's own.
    modality: of the images, in a table with several images per row.
    The image column holds paths, relative to this folder or to the table or absolute, or names or ids of images below
    the folder. Masks come from the mask column and splits from the split column, else from folders (see `open_folder`).
    Raises UserError for a missing column, more than a few missing images, an image listed twice, an unknown split, and
    masks among the images that are not listed.
    """
    root = images or directory or files[0].parent
    skipped: Counter[str] = Counter()
    paths = sorted(images_below(root, skipped))
    mask_paths = {path for path in paths if mask_key(path) is not None}
    image_paths = [path for path in paths if path not in mask_paths]
    finder, named = Finder(root, image_paths), named_columns(columns)
    frame, unread = join_tables([read_frame(file) for file in files], named, finder)
    layout = layout_of_table(frame.header)
    modality = layout.choose_modality(modality)
    chosen, notes = _columns_of(frame, layout.table, named, finder)
    classes, labels, groups, splits, told = _annotate(frame, chosen, layout.table)

    rows, missing = _rows_of_images(frame, _of_modality(chosen["image"], layout.table, modality), finder)
    if not layout.table.modalities:
        rows, kinds = _of_image_type(frame, rows, modality)
        missing += kinds
    if chosen["mask"]:
        masks = _named_masks(frame, chosen["mask"][0], rows, Finder(root, sorted(mask_paths) or paths))
    else:
        masks = pair_masks(root, paths) if mask_paths else {}
    notes += [*told, *missing]
    if directory is not None and modality is None:
        notes += _add_unlisted(rows, image_paths, finder, set(masks.values()))
    by_folder = [None] * len(rows) if any(splits) else split_folders(root, [image.lstrip("/") for image in rows])
    if not classes and directory:
        below = (
            label_folders(image, has_splits=split is not None) for image, split in zip(rows, by_folder, strict=True)
        )
        if len(folders := sorted({names[0] for names in below if names})) > 1:
            notes.append(f"not read as labels: the folders {some(folders)} (they are without a table beside them)")
    records = []
    for (image, row), split in zip(rows.items(), by_folder, strict=True):
        full = finder.full(image)
        mask = MaskFile(masks[image], full) if image in masks else None
        records.append(Record(image.lstrip("/"), ImageFile(full), labels[row], groups[row], splits[row] or split, mask))
    if joined := frame.joined():
        notes.append(f"columns of other tables: {', '.join(joined)}")
    if unread := [name for name in unread if name not in layout.table.index_files.values()]:
        notes.append(f"tables that are not read: {', '.join(unread)}")
    if layout.name:
        notes.insert(0, f"read as {layout.name} ({layout.license})")
    name = layout.name or (directory.name if directory else frame.file.stem)
    notes += describe_skipped(skipped)
    return Collection(name, tuple(records), classes, classes, tuple(notes), multilabel=bool(chosen["labels"]))


def _columns_of(frame: Frame, layout: Table, named: Chosen, images: Finder) -> tuple[Chosen, list[str]]:
    """(kind of column -> columns, lines for the user)."""
    of_layout = {kind: tuple(name for name in names if name in frame.header) for kind, names in layout.columns.items()}
    chosen, notes = choose_columns(frame, of_layout | named)
    if not chosen["image"]:
        if any(map(images.match, frame.header)):
            raise UserError(f"{frame.file} has no header: its first line must be the names of its columns")
        like = next((f"image={name}" for name in frame.header if images.knows(frame.cells(name))), "")
        hint = f" (here: --columns {like})" if like else ""
        raise UserError(
            f"{frame.file}: no image column among {', '.join(frame.header) or 'no columns'} (accepted: "
            f"{', '.join(COLUMNS['image'])}); name it with --columns image=NAME{hint}, or move the table elsewhere"
        )
    if "image" not in {**named, **layout.columns}:
        _check_image_columns(frame, images)
    used = ", ".join(f"{kind} = {_joined_by_plus(names)}" for kind, names in chosen.items() if names)
    return chosen, [f"table: {frame.name}, {len(frame):,} rows; columns {used}", *notes]


def _check_image_columns(frame: Frame, images: Finder) -> None:
    """Raise UserError for two columns of images that name different ones."""
    rivals = [name for name in columns_named(frame.header, COLUMNS["image"]) if images.knows(frame.cells(name))]
    for first, second in pairwise(rivals):
        for row, (one, other) in enumerate(zip(frame.cells(first), frame.cells(second), strict=True)):
            found = images.match(one), images.match(other)
            if all(found) and not set(found[0]) & set(found[1]):
                raise UserError(
                    f"{frame.place(row)}: {first} is {one!r} and {second} is {other!r}, which are different images; "
                    f"name one with --columns image={first} or --columns image={second}"
                )


def _joined_by_plus(names: Sequence[str]) -> str:
    return " + ".join(names[:3]) + (" + ..." if len(names) > 3 else "")


def _annotate(
    frame: Frame, chosen: Chosen, table: Table
) -> tuple[tuple[str, ...], list[int | tuple[int, ...] | None], list[str | None], list[str | None], list[str]]:
    """(classes, labels, groups, splits, lines for the user): a value per row, and a last one for images without a
    row."""
    labels: Sequence[int | tuple[int, ...] | None]
    if chosen["labels"]:
        classes, labels, notes = read_multilabels(frame, chosen["labels"])
    else:
        classes, labels, notes = read_labels(frame, chosen["label"], table)
    groups, more = read_groups({name: frame.cells(name) for name in chosen["group"]}, len(frame))
    splits = splits_of(frame, chosen["split"])
    files = {split: file for split, name in table.index_files.items() if (file := frame.file.with_name(name)).is_file()}
    for split, file in files.items():
        for row in map(int, read_frame(file, ["indexes"]).cells("indexes")):
            splits[row] = split
    if files:
        more.append(f"splits: {', '.join(file.name for file in files.values())}")
    if table.modalities:
        more.append(f"modality: {' and '.join(table.modalities)} images (--modality reads one)")
    return classes, [*labels, None], [*groups, None], [*splits, None], [*notes, *more]


def _of_modality(columns: Sequence[str], table: Table, modality: str | None) -> Sequence[str]:
    """The columns of images, in tables with several per row those of one modality."""
    if not modality or not table.modalities:
        return columns
    return [name for name, kind in zip(columns, table.modalities, strict=False) if kind == modality]


def _of_image_type(frame: Frame, rows: dict[str, int], modality: str | None) -> tuple[dict[str, int], list[str]]:
    """(the images of one modality by the column image_type, if any, lines for the user). Raises UserError if there is
    no such column or image."""
    cells = [frame.cells(column) for column in columns_named(frame.header, ["image_type"])]
    kinds = {
        image: "dermoscopic" if "dermosc" in of_rows[row].lower() else "clinical"
        for of_rows in cells
        for image, row in rows.items()
    }
    sizes = Counter(kinds.values())
    if modality:
        if not sizes[modality]:
            raise UserError(f"--modality {modality}: {frame.file} does not tell clinical from dermoscopic images")
        return {image: row for image, row in rows.items() if kinds[image] == modality}, []
    counts = ", ".join(f"{size:,} {kind}" for kind, size in sorted(sizes.items()))
    return rows, [f"modality: {counts} (--modality reads one)"] if len(sizes) > 1 else []


def _rows_of_images(frame: Frame, columns: Sequence[str], finder: Finder) -> tuple[dict[str, int], list[str]]:
    """(path of an image -> its row, a line about images that do not exist). Raises UserError for more than a few."""
    rows: dict[str, int] = {}
    missing = []
    for column in columns:
        for row, cell in enumerate(frame.cells(column)):
            image = finder.find(frame, row, column, cell)
            if image in rows:
                raise frame.fault(row, column, "an image that no other row lists: remove one row")
            if image is not None:
                rows[image] = row
            elif cell or len(columns) == 1:
                missing.append((row, column))
    if not missing:
        return rows, []
    row, column = missing[0]
    listed = len(rows) + len(missing)
    if len(missing) > TOLERATED * listed:
        others = (name for name in frame.header if name not in columns and finder.knows(frame.cells(name)))
        hint = "" if rows else "".join(f"--columns image={name}, " for name in islice(others, 1))
        hint += f"--images DIR if elsewhere, or remove the rows: {TOLERATED:.0%} may be missing"
        hint += archives_hint(finder.directory)
        place = f"an image in or below {finder.directory}{finder.example()}"
        raise frame.fault(row, column, f"{place} ({len(missing):,} of {listed:,} are missing; {hint})")
    example = frame.cells(column)[row]
    return rows, [f"left out: {len(missing):,} of {listed:,} images of the table are missing, e.g. {example}"]


def _named_masks(frame: Frame, column: str, rows: Mapping[str, int], finder: Finder) -> dict[str, str]:
    """Image -> mask file, by a column of masks."""
    cells, masks = frame.known(column), {}
    for image, row in rows.items():
        if cells[row]:
            mask = finder.find(frame, row, column, cells[row])
            if mask is None:
                raise frame.fault(row, column, f"an image in or below {finder.directory}")
            if mask == image:
                raise frame.fault(row, column, "a mask, not the image itself")
            masks[image] = finder.full(mask)
    return masks


def _add_unlisted(rows: dict[str, int], paths: Sequence[str], finder: Finder, masks: set[str]) -> list[str]:
    """Add the images that the table does not list and that are no masks, with row -1; returns a line for the user."""
    paths = [path for path in paths if finder.full(path) not in masks] if masks else paths
    check_no_masks(finder.directory, paths)
    unlisted = [path for path in paths if path not in rows]
    rows |= dict.fromkeys(unlisted, -1)
    return [f"without a row in the table: {len(unlisted):,} images, e.g. {unlisted[0]}"] if unlisted else []


def _tables(folder: Path, names: Iterable[str]) -> list[Path]:
    """The tables among the files in a folder that no job has written."""
    files = [folder / name for name in sorted(names) if name.lower().endswith(TABLE_SUFFIXES) and name[0] != "."]
    return [
        one
        for one in files
        if one.suffix.lower() != ".parquet" or OUTPUT_KEY not in (parquet_schema(one).metadata or {})
    ]


def refuse_shard(file: Path, directory: Path) -> None:
    """Raise UserError for a Parquet file that holds the images themselves, in a directory of such files."""
    if file.suffix.lower() != ".parquet":
        return
    schema = parquet_schema(file)
    if any(map(_holds_images, schema)):
        raise UserError(
            f"{file} is a shard that holds its images: give --data hf:{directory}, "
            f"or for pre-training --data {directory} --streaming"
        )


def _holds_images(field: pa.Field) -> bool:
    is_image = pa.types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0
    return is_image or pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type)
