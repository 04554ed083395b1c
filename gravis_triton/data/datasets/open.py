"""Open the images that a user names."""

import gc
import os
from dataclasses import replace
from pathlib import Path

from gravis_triton.data.datasets.common import common_classes
from gravis_triton.data.datasets.folder import inner_folder, open_folder
from gravis_triton.data.datasets.frame import SPREADSHEET, TABLE_SUFFIXES
from gravis_triton.data.datasets.hub import open_hub
from gravis_triton.data.datasets.known import open_known
from gravis_triton.data.datasets.records import Collection, Record
from gravis_triton.data.datasets.references import SyntheticImage, SyntheticMask
from gravis_triton.data.datasets.table import (
    labels_images,
    lists_images,
    open_table,
    other_tables,
    refuse_shard,
    tables_in,
)
from gravis_triton.data.synthetic import image as synthetic
from gravis_triton.errors import UserError


def open_collection(
    spec: str,
    *,
    seed: int = 0,
    synthetic_images: int = 1000,
    columns: str | None = None,
    images: str | None = None,
    modality: str | None = None,
    classes: str | None = None,
) -> Collection:
    """The collection that `spec` names.

    spec: "synthetic"; a directory (an official ISIC or HAM10000 layout, images with a table, or any folder of images);
        a CSV or Parquet table; or "hf:OWNER/NAME[@revision]", a dataset of the Hugging Face hub, "hf:DIRECTORY" for
        one on disk.
    seed, synthetic_images: which synthetic images, and how many; ignored for other data.
    columns: "image=NAME,label=NAME,..." for table columns without an accepted name (see `open_table`).
    images: the folder that holds the images that a table names.
    modality: "dermoscopic" or "clinical", of a dataset with both.
    classes: "common" for the diagnoses that datasets have in common (see `common_classes`).
    Raises UserError if nothing is found, or if labels and images do not match.
    """
    flags = {"--columns": columns, "--images": images, "--modality": modality}
    given = next((f"{flag} {value}" for flag, value in flags.items() if value is not None), "")
    if spec != "synthetic" and not spec.startswith("hf:"):
        collection = _open_path(spec, columns, images, modality, given)
    elif given:
        raise UserError(f"{given}: {spec} is not a table; leave it out")
    else:
        collection = (
            _open_synthetic(seed, synthetic_images) if spec == "synthetic" else open_hub(spec.removeprefix("hf:"))
        )
    return collection if classes is None else common_classes(collection)


def _open_path(spec: str, columns: str | None, images: str | None, modality: str | None, given: str) -> Collection:
    """given: the first of the flags and its value, "" without one."""
    path, root = (Path(os.path.abspath(Path(name).expanduser())) for name in (spec, images or ""))
    if not path.exists():
        raise UserError(f"{spec}: no such file or directory; give synthetic, a directory, a table, or hf:OWNER/NAME")
    if not (path.is_file() or path.is_dir()):
        raise UserError(f"{spec} is neither a regular file nor a directory")
    if not root.is_dir():
        raise UserError(f"--images {images}: no such directory")
    is_collecting = gc.isenabled()
    gc.disable()  # it would go through all records again and again
    try:
        if path.is_dir():
            return _open_directory(path, columns, root if images else None, modality, given)
        if path.suffix.lower() not in (*TABLE_SUFFIXES, SPREADSHEET):
            raise UserError(f"{path} is a file; give the directory of the images, or a CSV, Parquet or Excel table")
        refuse_shard(path, path.parent)
        return open_table([path], columns, images=root if images else None, modality=modality)
    except PermissionError as error:
        raise UserError(f"{error.filename}: no permission to read it") from error
    finally:
        if is_collecting:
            gc.enable()


def _open_directory(
    outer: Path, columns: str | None, images: Path | None, modality: str | None, given: str
) -> Collection:
    """A data set known by name, else tables in the directory, or in a folder below that label its images, else class
    folders, else images."""
    directory = inner_folder(outer)
    notes = [] if directory == outer else [f"{outer} holds one folder: {directory.relative_to(outer)} is read"]
    known = open_known(directory, modality=modality)
    if known is not None:
        if columns or images:
            raise UserError(f"{given}: {directory} is read as {known.name}; leave it out, or give a table as --data")
        return replace(known, notes=(*notes, *known.notes))
    tables = tables_in(directory)
    if given and not tables:
        raise UserError(f"{given}: no CSV or Parquet table in {directory}")
    is_table = bool(tables) and (tables[0].parent == directory or bool(given))
    if not is_table:
        collection = open_folder(directory)
        ids = [record.id for record in collection.records]
        replaces = not collection.classes or labels_images(tables, directory, ids)
        is_table = replaces and any(map(lists_images, tables))
    if is_table:
        collection = open_table(tables, columns, directory=directory, images=images, modality=modality)
    others = other_tables(directory, collection.notes)
    more = ", ..." if len(others) > 6 else ""
    hint = (
        " (give one as --data)" if any(name.lower().endswith((*TABLE_SUFFIXES, SPREADSHEET)) for name in others) else ""
    )
    unread = [f"tables that are not read: {', '.join(others[:6])}{more}{hint}"] if others else []
    return replace(collection, notes=(*notes, *collection.notes, *unread))


def _open_synthetic(seed: int, images: int) -> Collection:
    if images < 1:
        raise UserError(f"{images} synthetic images: at least 1 is needed")
    records = tuple(
        Record(
            id=f"synthetic_{seed}_{index:06d}",
            image=SyntheticImage(seed, index),
            label=synthetic.label_of(seed, index),
            mask=SyntheticMask(seed, index),
        )
        for index in range(images)
    )
    # As in ISIC 2017, which it imitates, nevus has no AUC of its own.
    scored = tuple(name for name in synthetic.SYNTHETIC_CLASSES if name != "nevus")
    return Collection("synthetic", records, tuple(synthetic.SYNTHETIC_CLASSES), scored)
