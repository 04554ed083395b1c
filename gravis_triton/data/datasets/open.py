"""Open the images that a user names."""

import os
from pathlib import Path

from gravis_triton.data.datasets.folder import open_folder
from gravis_triton.data.datasets.hub import open_hub
from gravis_triton.data.datasets.isic import open_isic
from gravis_triton.data.datasets.records import Collection, Record
from gravis_triton.data.datasets.references import SyntheticImage, SyntheticMask
from gravis_triton.data.datasets.table import TABLE_SUFFIXES, open_table, table_in
from gravis_triton.data.synthetic import image as synthetic
from gravis_triton.errors import UserError


def open_collection(
    spec: str, *, seed: int = 0, synthetic_images: int = 1000, columns: str | None = None
) -> Collection:
    """The collection that `spec` names.

    spec: "synthetic"; a directory (an official ISIC or HAM10000 layout, images with a table, or any folder of images);
        a CSV or Parquet table; or "hf:OWNER/NAME[@revision]", a dataset of the Hugging Face hub, "hf:DIRECTORY" for
        one on disk.
    seed, synthetic_images: which synthetic images, and how many; ignored for other data.
    columns: "image=NAME,label=NAME,..." for table columns without an accepted name (see `open_table`).
    Raises UserError if nothing is found, or if labels and images do not match.
    """
    if columns is not None and (spec == "synthetic" or spec.startswith("hf:")):
        raise UserError(f"--columns {columns}: {spec} is not a table; leave it out")
    if spec == "synthetic":
        return _open_synthetic(seed, synthetic_images)
    if spec.startswith("hf:"):
        return open_hub(spec.removeprefix("hf:"))
    path = Path(os.path.abspath(Path(spec).expanduser()))
    if not path.exists():
        raise UserError(
            f"{spec}: no such file or directory; give synthetic, a directory, a table, or hf:OWNER/NAME"
        )
    if not (path.is_file() or path.is_dir()):
        raise UserError(f"{spec} is neither a regular file nor a directory")
    try:
        return _open_file(path, columns) if path.is_file() else _open_directory(path, columns)
    except PermissionError as error:
        raise UserError(f"{error.filename}: no permission to read it") from error


def _open_file(file: Path, columns: str | None) -> Collection:
    if file.suffix.lower() not in TABLE_SUFFIXES:
        raise UserError(
            f"{file} is a file; give the directory that holds the images, or a CSV or Parquet table"
        )
    return open_table(file, columns)


def _open_directory(directory: Path, columns: str | None) -> Collection:
    official = open_isic(directory)
    if official is not None and columns is not None:
        raise UserError(
            f"--columns {columns}: {directory} is read as {official.name}; give a table as --data"
        )
    if official is not None:
        return official
    table = table_in(directory)
    if table is not None:
        return open_table(table, columns, unlisted=True)
    if columns is not None:
        raise UserError(f"--columns {columns}: no CSV or Parquet table in {directory}")
    return open_folder(directory)


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
