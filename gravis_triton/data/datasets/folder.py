"""Any folder of images, with or without class sub-folders, splits and folders of masks."""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from gravis_triton.data.datasets.isic_layouts import layout_of_folder
from gravis_triton.data.datasets.records import Collection, Record
from gravis_triton.data.datasets.references import ImageFile, MaskFile
from gravis_triton.errors import UserError
from gravis_triton.run_directory import RunDirectory

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp"}
)

SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
IMAGE_FOLDERS = frozenset({"image", "images", "img", "imgs"})
MASK_FOLDERS = frozenset(
    {"mask", "masks", "segmentation", "segmentations", "groundtruth", "ground_truth", "gt"}
)
_METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
_OUTPUT = ("comparison.json", "predictions.csv", "predictions.parquet")
_MASK_ENDINGS = ("_segmentation", "_mask")


def open_folder(directory: Path) -> Collection:
    """Every image below `directory`; an image's id is its path relative to it.

    If the top folders are named train (training), val (valid, validation) and test (testing), they are the splits.
    If every image then is in a sub-folder, and there are at least two of these, they are the classes.
    Images in a folder masks (or another of `MASK_FOLDERS`) are the masks of the images with the same name, with
    or without a final _segmentation or _mask, beside that folder or in a folder images (image, imgs, img) beside it.
    Hidden files and folders are ignored, and runs, comparisons and predictions.
    Raises UserError if there is no image, for images beside folders of splits, for a mask without an image or among
    the images, for a class named images, and for a Hugging Face metadata file, which would be ignored.
    """
    paths = sorted(images_below(directory))
    _check_no_metadata(directory, {path.parent for path in paths})
    masks = pair_masks(directory, paths)
    paths = [path for path in paths if mask_key(path) is None]
    if not paths:
        raise UserError(
            f"{directory}: no images in it or below it (looked for {', '.join(sorted(IMAGE_SUFFIXES))})"
        )
    check_no_masks(directory, paths)
    bare = [_bare(path) for path in paths]
    splits = split_folders(directory, paths)
    folders = [
        _class_folder(path, has_splits=split is not None) for path, split in zip(bare, splits, strict=True)
    ]
    _check_no_class_images(directory, paths, folders)
    classes = tuple(sorted({folder for folder in folders if folder is not None}))
    if None in folders or len(classes) < 2:
        classes = ()
    records = []
    for path, folder, split in zip(paths, folders, splits, strict=True):
        image = directory / path
        records.append(
            Record(
                id=path.as_posix(),
                image=ImageFile(image),
                label=classes.index(folder) if folder is not None and classes else None,
                split=split,
                mask=MaskFile(masks[image], image) if image in masks else None,
            )
        )
    return Collection(directory.absolute().name, tuple(records), classes=classes, scored_classes=classes)


def pair_masks(directory: Path, paths: Iterable[PurePosixPath]) -> dict[Path, Path]:
    """Match images and masks below `directory`: image file -> mask file.

    Raises UserError for a mask without an image, and for an image with two masks or a mask with two images.
    """
    images: dict[str, list[Path]] = defaultdict(list)
    masks: dict[str, list[Path]] = defaultdict(list)
    for path in paths:
        key = mask_key(path)
        if key is None:
            images[_key(path, IMAGE_FOLDERS)].append(directory / path)
        else:
            masks[key].append(directory / path)
    unmatched = [mask for key, found in masks.items() if key not in images for mask in found]
    if unmatched:
        raise UserError(
            f"{len(unmatched)} of {len(masks)} masks have no image, e.g. {unmatched[0]}: expected an image with the "
            "same name in a folder images beside the folder of masks; if masks is a class, rename it"
        )
    for key in masks:
        for what, found in (("masks of one image", masks[key]), ("images of one mask", images[key])):
            if len(found) > 1:
                raise UserError(f"two {what}: {found[0]} and {found[1]}; remove one")
    return {images[key][0]: found[0] for key, found in masks.items()}


def mask_key(path: PurePosixPath) -> str | None:
    """The path that a mask shares with its image, without suffix and without folders named masks or images; None for
    an image."""
    if MASK_FOLDERS.isdisjoint(part.lower() for part in path.parts[:-1]):
        return None
    key = _key(path, IMAGE_FOLDERS | MASK_FOLDERS)
    ending = next((ending for ending in _MASK_ENDINGS if key.lower().endswith(ending)), "")
    return key[: len(key) - len(ending)]


def _bare(path: PurePosixPath) -> PurePosixPath:
    return PurePosixPath(_key(path, IMAGE_FOLDERS))


def _key(path: PurePosixPath, without: frozenset[str]) -> str:
    folders = [part for part in path.parts[:-1] if part.lower() not in without]
    return "/".join([*folders, path.stem])


def is_image(name: str) -> bool:
    """Whether a file with this name is read as an image."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def images_below(directory: Path) -> Iterator[PurePosixPath]:
    """Paths of all images below `directory`, relative to it, except in hidden folders and in output of jobs.

    Raises UserError for a folder that cannot be listed, and for a challenge's folder: its masks would be taken for
    images.
    """
    for folder, folders, files in walk(directory):
        _check_nested_layout(folder, folders)
        for name in filter(is_image, files):
            relative = folder.relative_to(directory)
            yield PurePosixPath(relative.as_posix(), _checked_name(folder, name))


def walk(directory: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """(folder, names of its folders, names of its files) of `directory` and all folders below it, except hidden ones
    and output of jobs. Links are followed once. Raises UserError for a folder that cannot be listed."""
    seen = set()
    for folder, folders, files in os.walk(directory, onerror=_refuse, followlinks=True):
        if os.path.realpath(folder) in seen:  # a link back to a folder above
            folders.clear()
            continue
        seen.add(os.path.realpath(folder))
        folders[:] = [name for name in folders if not _is_skipped(Path(folder, name))]
        yield Path(folder), folders, files


def _is_skipped(folder: Path) -> bool:
    """Whether a folder is hidden, or holds a run, a comparison or predictions: jobs write to the current directory,
    which may be the data's."""
    if folder.name.startswith(".") or folder.name == "__MACOSX":
        return True
    return RunDirectory(folder).is_written() or any((folder / name).is_file() for name in _OUTPUT)


def check_no_masks(directory: Path, images: Iterable[PurePosixPath]) -> None:
    """Raise UserError for masks among the images."""
    stems = {path.with_suffix("") for path in images}
    for stem in stems:
        for ending in _MASK_ENDINGS:
            if stem.name.lower().endswith(ending) and stem.with_name(stem.name[: -len(ending)]) in stems:
                raise UserError(
                    f"{directory / stem.parent} holds masks among its images, such as {stem.name}: move them into a "
                    "folder named masks"
                )


def _checked_name(folder: Path, name: str) -> str:
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"{folder}: file name {name!r} is not UTF-8: rename it") from error
    return name


def _refuse(error: OSError) -> None:
    raise UserError(f"{error.filename}: cannot be listed: {error.strerror}") from error


def _check_nested_layout(folder: Path, names: list[str]) -> None:
    for name in names:
        layout = layout_of_folder(name)
        if layout is not None:
            raise UserError(
                f"{folder} holds {layout.name} ({name}): give this folder as --data, not one above it"
            )


def _check_no_metadata(directory: Path, folders: Iterable[PurePosixPath]) -> None:
    for folder in sorted({PurePosixPath(), *folders}):
        for name in _METADATA:
            file = directory / folder / name
            if file.is_file():
                raise UserError(
                    f"{file} would be ignored: use --data hf:{directory}, or put one CSV or Parquet table in "
                    f"{directory}"
                )


def split_folders(directory: Path, paths: Sequence[PurePosixPath]) -> list[str | None]:
    """The split of each image by the top folder of its path, if one of them is named train or training.

    Raises UserError if other images then are outside of splits.
    """
    bare = [_bare(path) for path in paths]
    tops = [path.parts[0].lower() if len(path.parts) > 1 else "" for path in bare]
    splits = [SPLIT_FOLDERS.get(top) for top in tops]
    if "train" not in splits and None in splits:  # a study may have arms named test and control
        return [None] * len(paths)
    if None in splits:
        split = bare[splits.index("train")].parts[0]
        outside = paths[splits.index(None)]
        raise UserError(
            f"{directory}: {split} is the name of a split, but {splits.count(None):,} of {len(paths):,} images are "
            f"outside of splits, e.g. {outside}: move these into {split} or remove them, or rename {split}"
        )
    return splits


def _class_folder(path: PurePosixPath, *, has_splits: bool) -> str | None:
    folders = path.parts[int(has_splits) : -1]
    return folders[0] if folders else None


def _check_no_class_images(directory: Path, paths: list[PurePosixPath], folders: list[str | None]) -> None:
    for path, folder in zip(paths, folders, strict=True):
        if (
            folder is None
            and len(path.parts) > 1
            and path.parts[-2].lower() in IMAGE_FOLDERS
            and any(folders)
        ):
            raise UserError(
                f"{directory} holds {path.parent} beside class folders: {path.parts[-2]} is not a class; rename "
                "it, or give only that folder as --data"
            )
