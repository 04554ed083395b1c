"""Images listed in CSV or Parquet tables."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from gravis_triton.data.datasets.columns import (
    COLUMNS,
    Chosen,
    choose_columns,
    named_columns,
    splits_of,
)
from gravis_triton.data.datasets.finder import Finder, join_tables
from gravis_triton.data.datasets.folder import (
    archives_hint,
    check_no_masks,
    describe_skipped,
    images_below,
    is_image,
    mask_key,
    pair_masks,
    split_folders,
    walk,
)
from gravis_triton.data.datasets.frame import TABLE_SUFFIXES, Frame, header_of, parquet_schema, read_frame
from gravis_triton.data.datasets.groups import read_groups
from gravis_triton.data.datasets.labels import read_labels, read_multilabels
from gravis_triton.data.datasets.layouts import Table, layout_of_table
from gravis_triton.data.datasets.records import TOLERATED, Collection, Record
from gravis_triton.data.datasets.references import ImageFile, MaskFile
from gravis_triton.errors import UserError

OUTPUT_KEY = b"gravis_triton"
"""Metadata key of the Parquet files that jobs write, with a fingerprint of what the rows depend on."""


def tables_in(directory: Path) -> list[Path]:
    """The CSV and Parquet files directly in `directory`, else in a folder below it that has no images, except features
    that `gravis embed` has written. Raises UserError for shards."""
    for folder, _, names in walk(directory):
        tables = [folder / name for name in sorted(names) if _is_table(folder / name)]
        if tables and (folder == directory or not any(map(is_image, names))):
            for file in tables:
                refuse_shard(file, directory)
            return tables
    return []


def lists_images(file: Path) -> bool:
    """Whether a table has a column of images by its name."""
    header = header_of(file)
    accepted = {name.lower() for name in header}.intersection(COLUMNS["image"])
    return bool(accepted or layout_of_table(header).name)


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
    image_paths = [path for path in paths if mask_key(path) is None]
    has_masks = len(image_paths) < len(paths)
    images_of, named = Finder(root, image_paths), named_columns(columns)
    frame, unread = join_tables([_read(file) for file in files], named, images_of)
    known = layout_of_table(frame.header)
    layout = known.table
    modality = known.choose_modality(modality)
    chosen, notes = _columns_of(frame, layout, named, images_of)
    annotated = _annotate(frame, chosen, layout)

    paired = pair_masks(root, paths) if has_masks and not chosen["mask"] else {}
    listed = _listed(frame, chosen["image"], layout, modality)
    mask_paths = sorted({*paths} - {*image_paths}) if has_masks else paths
    records, told = _records_of_rows(
        frame, listed, annotated, images_of, Finder(root, mask_paths if chosen["mask"] else []), paired
    )
    notes += [*annotated.notes, *told]
    if directory is not None and modality is None:
        notes += _add_unlisted(records, image_paths, images_of, paired)
    found = list(records.values())
    if not any(annotated.splits):
        splits = split_folders(root, [record.id for record in found])
        if any(splits):
            found = [replace(record, split=split) for record, split in zip(found, splits, strict=True)]
    unread = [name for name in unread if name not in layout.index_files.values()]
    if unread:
        notes.append(f"tables that are not read: {', '.join(unread)}")
    if known.name:
        notes.insert(0, f"read as {known.name} ({known.license})")
    name = known.name or (directory.name if directory else frame.file.stem)
    notes += describe_skipped(skipped)
    classes, multilabel = annotated.classes, bool(chosen["labels"])
    return Collection(name, tuple(found), classes, classes, tuple(notes), multilabel)


class _Annotations(NamedTuple):
    """What the rows of a table say, one value per row, and lines for the user."""

    classes: tuple[str, ...]
    labels: Sequence[int | tuple[int, ...] | None]
    groups: Sequence[str | None]
    splits: Sequence[str | None]
    masks: Sequence[str]
    mask_column: str
    notes: Sequence[str]


def _read(file: Path) -> Frame:
    refuse_shard(file, file.parent)
    return read_frame(file)


def _columns_of(frame: Frame, layout: Table, named: Chosen, images: Finder) -> tuple[Chosen, list[str]]:
    """(kind of column -> columns, lines for the user)."""
    of_layout = {kind: tuple(name for name in names if name in frame.header) for kind, names in layout.columns.items()}
    chosen, notes = choose_columns(frame, of_layout | named)
    if not chosen["image"]:
        like = next((f"image={name}" for name in frame.header if images.knows(frame.cells(name))), "")
        hint = f" (here: --columns {like})" if like else ""
        raise UserError(
            f"{frame.file}: no image column among {', '.join(frame.header) or 'no columns'} (accepted: "
            f"{', '.join(COLUMNS['image'])}); name it with --columns image=NAME{hint}, or move the table elsewhere"
        )
    used = ", ".join(f"{kind} = {_joined_by_plus(names)}" for kind, names in chosen.items() if names)
    return chosen, [f"table: {frame.file.name}, {len(frame):,} rows; columns {used}", *notes]


def _joined_by_plus(names: Sequence[str]) -> str:
    return " + ".join(names[:3]) + (" + ..." if len(names) > 3 else "")


def _annotate(frame: Frame, chosen: Chosen, layout: Table) -> _Annotations:
    labels: Sequence[int | tuple[int, ...] | None]
    if chosen["labels"]:
        classes, labels, notes = read_multilabels(frame, chosen["labels"])
    else:
        classes, labels, notes = read_labels(frame, chosen["label"], layout)
    groups, more = read_groups({name: frame.cells(name) for name in chosen["group"]}, len(frame))
    splits = splits_of(frame, chosen["split"])
    for split, name in layout.index_files.items():
        file = frame.file.with_name(name)
        for row in map(int, read_frame(file, ["indexes"]).cells("indexes") if file.is_file() else ()):
            splits[row] = split
    mask_column = next(iter(chosen["mask"]), "")
    masks = frame.known(mask_column) if mask_column else [""] * len(frame)
    if layout.index_files:
        more.append(f"splits: {', '.join(layout.index_files.values())}")
    if layout.modalities:
        more.append(f"modality: {' and '.join(layout.modalities)} images (--modality reads one)")
    return _Annotations(classes, labels, groups, splits, masks, mask_column, [*notes, *more])


def _listed(frame: Frame, columns: Sequence[str], layout: Table, modality: str | None) -> list[tuple[int, str, str]]:
    """(row, column, cell) of every image that the table names; in tables with several per row, of one modality."""
    if modality:
        if modality not in layout.modalities:
            raise UserError(f"--modality {modality}: {frame.file} does not tell clinical from dermoscopic images")
        columns = [name for name, kind in zip(columns, layout.modalities, strict=False) if kind == modality]
    return [
        (row, column, cell)
        for column in columns
        for row, cell in enumerate(frame.cells(column))
        if cell or len(columns) == 1
    ]


def _records_of_rows(
    frame: Frame,
    listed: Sequence[tuple[int, str, str]],
    annotated: _Annotations,
    images: Finder,
    masks: Finder,
    paired: Mapping[str, str],
) -> tuple[dict[str, Record], list[str]]:
    """(path of an image -> its record, lines for the user). paired: image -> mask file, by folders."""
    records: dict[str, Record] = {}
    missing = []
    for row, column, cell in listed:
        image = images.find(frame, row, column, cell)
        if image is None:
            missing.append((row, column))
            continue
        if image in records:
            raise frame.fault(row, column, "an image that no other row lists")
        mask = paired.get(image)
        if annotated.masks[row]:
            named = masks.find(frame, row, annotated.mask_column, annotated.masks[row])
            if named is None:
                raise frame.fault(row, annotated.mask_column, f"an image in or below {masks.directory}")
            mask = masks.full(named)
        full = images.full(image)
        records[image] = Record(
            image.lstrip("/"),
            ImageFile(full),
            annotated.labels[row],
            annotated.groups[row],
            annotated.splits[row],
            None if mask is None else MaskFile(mask, full),
        )
    return records, _describe_missing(frame, missing, len(listed), images.directory)


def _add_unlisted(
    records: dict[str, Record], paths: Sequence[str], images: Finder, paired: Mapping[str, str]
) -> list[str]:
    """Add the images that the table does not list and that are no masks; returns a line for the user."""
    drawn = {record.mask.file for record in records.values() if isinstance(record.mask, MaskFile)}
    paths = [path for path in paths if images.full(path) not in drawn]
    check_no_masks(images.directory, paths)
    unlisted = [path for path in paths if path not in records]
    for path in unlisted:
        full, mask = images.full(path), paired.get(path)
        records[path] = Record(path, ImageFile(full), mask=None if mask is None else MaskFile(mask, full))
    return [f"without a row in the table: {len(unlisted):,} images, e.g. {unlisted[0]}"] if unlisted else []


def _describe_missing(frame: Frame, missing: Sequence[tuple[int, str]], listed: int, root: Path) -> list[str]:
    """A line about images of the table that do not exist. Raises UserError for more than a few."""
    if not missing:
        return []
    row, column = missing[0]
    fault = frame.fault(
        row,
        column,
        f"an image in or below {root} ({len(missing):,} of {listed:,} are missing; --images DIR if elsewhere"
        f"{archives_hint(root)})",
    )
    if len(missing) > TOLERATED * listed:
        raise fault
    return [
        f"left out: {len(missing):,} of {listed:,} images of the table are missing, e.g. {frame.cells(column)[row]}"
    ]


def _is_table(file: Path) -> bool:
    """Whether a file is a table, and not one that a job has written."""
    if file.suffix.lower() not in TABLE_SUFFIXES or file.name[0] == ".":
        return False
    return file.suffix.lower() != ".parquet" or OUTPUT_KEY not in (parquet_schema(file).metadata or {})


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
