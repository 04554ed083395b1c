"""Any folder of images, with class sub-folders or without."""

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from gravis_triton.data.datasets.isic_layouts import layout_of_folder
from gravis_triton.data.datasets.records import Collection, Record
from gravis_triton.data.datasets.references import ImageFile
from gravis_triton.errors import UserError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})

SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}


def open_folder(directory: Path) -> Collection:
    """Every image below `directory`; an image's id is its path relative to it.

    Where the top folders are named train, val (valid, validation) and test, they are the splits. Where every
    image then lies in a sub-folder, and there are at least two of these, they are the classes.
    Hidden files and folders are ignored. Raises UserError when there is no image.
    """
    paths = sorted(_images_below(directory))
    if not paths:
        raise UserError(
            f"{directory}: no images in it or below it (looked for {', '.join(sorted(IMAGE_SUFFIXES))})"
        )
    splits = _splits(paths)
    folders = [
        _class_folder(path, has_splits=split is not None) for path, split in zip(paths, splits, strict=True)
    ]
    classes = tuple(sorted({folder for folder in folders if folder is not None}))
    if None in folders or len(classes) < 2:
        classes = ()
    records = tuple(
        Record(
            id=path.as_posix(),
            image=ImageFile(directory / path),
            label=classes.index(folder) if folder is not None and classes else None,
            split=split,
        )
        for path, folder, split in zip(paths, folders, splits, strict=True)
    )
    return Collection(directory.absolute().name, records, classes=classes, scored_classes=classes)


def is_image(name: str) -> bool:
    """Whether a file of this name is to be read as an image."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def _images_below(directory: Path) -> Iterator[PurePosixPath]:
    seen = set()
    for folder, folders, files in os.walk(directory, onerror=_refuse, followlinks=True):
        relative = Path(folder).relative_to(directory)
        if os.path.realpath(folder) in seen:  # a link back to a folder above
            folders.clear()
            continue
        seen.add(os.path.realpath(folder))
        folders[:] = [name for name in folders if not name.startswith(".") and name != "__MACOSX"]
        _check_nested_layout(Path(folder), folders)
        yield from (PurePosixPath(relative.as_posix(), name) for name in files if is_image(name))


def _refuse(error: OSError) -> None:
    raise UserError(f"{error.filename}: cannot be listed: {error.strerror}") from error


def _check_nested_layout(folder: Path, names: list[str]) -> None:
    """Masks of a challenge further down would pass for images here."""
    for name in names:
        layout = layout_of_folder(name)
        if layout is not None:
            raise UserError(
                f"{folder} holds {layout.name} ({name}): give this folder as the data, not one above it"
            )


def _splits(paths: list[PurePosixPath]) -> list[str | None]:
    tops = [path.parts[0].lower() if len(path.parts) > 1 else "" for path in paths]
    if all(top in SPLIT_FOLDERS for top in tops):
        return [SPLIT_FOLDERS[top] for top in tops]
    return [None] * len(paths)


def _class_folder(path: PurePosixPath, *, has_splits: bool) -> str | None:
    folders = path.parts[int(has_splits) : -1]
    return folders[0] if folders else None
