"""Opening the images that a user names."""

import os
from pathlib import Path

from gravis_triton.data.datasets import synthetic
from gravis_triton.data.datasets.folder import open_folder
from gravis_triton.data.datasets.hub import open_hub
from gravis_triton.data.datasets.isic import open_isic
from gravis_triton.data.datasets.records import Collection, Record
from gravis_triton.data.datasets.references import SyntheticImage, SyntheticMask
from gravis_triton.errors import UserError


def open_collection(spec: str, *, seed: int = 0, synthetic_images: int = 1000) -> Collection:
    """The collection that `spec` names.

    spec: "synthetic"; a directory (an official ISIC or HAM10000 layout, or any folder of images); or
        "hf:OWNER/NAME[@revision]", a data set of the Hugging Face hub, "hf:DIRECTORY" for one on disk.
    seed, synthetic_images: which synthetic images, and how many; without meaning for the others.
    Raises UserError where nothing is found, or where labels and images do not fit together.
    """
    if spec == "synthetic":
        return _open_synthetic(seed, synthetic_images)
    if spec.startswith("hf:"):
        return open_hub(spec.removeprefix("hf:"))
    directory = Path(os.path.abspath(Path(spec).expanduser()))
    if not directory.exists():
        raise UserError(f"{spec}: no such directory; give synthetic, a directory, or hf:OWNER/NAME")
    if not directory.is_dir():
        raise UserError(f"{spec} is a file; give the directory that holds the images")
    try:
        return open_isic(directory) or open_folder(directory)
    except PermissionError as error:
        raise UserError(f"{error.filename}: no permission to read it") from error


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
    # As in ISIC 2017, which it imitates, nevus is the class without an AUC of its own.
    scored = tuple(name for name in synthetic.SYNTHETIC_CLASSES if name != "nevus")
    return Collection("synthetic", records, tuple(synthetic.SYNTHETIC_CLASSES), scored)
