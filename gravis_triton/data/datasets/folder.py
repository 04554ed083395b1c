"""Any folder of images, with or without class sub-folders, splits and folders of masks."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from pathlib import Path

from gravis_triton.data.datasets.class_folders import classes_and_cases
from gravis_triton.data.datasets.columns import SPLITS
from gravis_triton.data.datasets.frame import TABLE_SUFFIXES
from gravis_triton.data.datasets.image_files import (
    IMAGE_FOLDERS,
    IMAGE_SUFFIXES,
    MASK_FOLDERS,
    check_no_masks,
    composed,
    is_image,
    mask_key,
    pair_masks,
    stem_of,
)
from gravis_triton.data.datasets.labels import common_spellings, describe_spellings, some
from gravis_triton.data.datasets.layouts import layout_of_folder
from gravis_triton.data.datasets.records import Collection, Record
from gravis_triton.data.datasets.references import ImageFile, MaskFile
from gravis_triton.errors import UserError
from gravis_triton.run_directory import RunDirectory

_SYSTEM = frozenset(
    {"@eadir", "@tmp", "#recycle", "@recycle", "#snapshot", "$recycle.bin", "recycler", "lost+found", "__macosx"}
    | {"system volume information", "found.000", "__pycache__", "temporary items", "network trash folder", "_gsdata_"}
)  # fmt: skip
_SYSTEM_MARKS = (".", "@", "#", "$", "~")  # of Synology, QNAP, Windows and others
_METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
_ARCHIVES = (".zip", ".7z", ".rar", ".tar.gz", ".tgz", ".gz")
_OUTPUT = ("comparison.json", "predictions.csv", "predictions.parquet")
_SPLIT_FOLDER = re.compile(
    r"(?:(\w+)[-_ ])??(train|training|val|valid|validation|test|testing)[-_ ]*(set|data|dataset|images?|imgs?|split)?"
    r"([-_ ]*\d+)?"
)
_FOLD_FOLDER = re.compile(r"(k?folds?|cv|splits?|seed|run)[-_ ]*\d+", re.IGNORECASE)
"""Folders of which each holds all images, split in another way."""
_PART_FOLDER = re.compile(  # imgs_part_1, 600x450
    r"((images?|imgs?|photos?|part|fold|batch|chunk)[-_ ]*)+\d+|\d+ ?x ?\d+(px)?|\d+ ?px", re.IGNORECASE
)
_KIND_FOLDER = re.compile(
    r"(clinic(al)?|derm(at)?oscop(ic|y)|derm|macro(scopic)?|close[-_ ]?ups?|overviews?)([-_ ]*(image|img|photo)s?)?",
    re.IGNORECASE,
)
"""Folders of one kind of photograph."""
SUPERPIXELS = "_superpixels"
"""Ending of the names of images of superpixels, which ISIC 2017 has beside its images."""
_NOT_READ = frozenset(
    {".arw", ".avif", ".cr2", ".dcm", ".dng", ".heic", ".heif", ".jp2", ".nef", ".npy", ".ppm", ".psd", ".svs", ".tga"}
)  # fmt: skip
_HOLD_MANY = frozenset({".lmdb", ".mat", ".mdb", ".npz", ".pkl", ".tfrecord", ".tfrecords"})


def open_folder(directory: Path) -> Collection:
    """Every image below `directory`; an image's id is its path relative to it.

    If the top folders are named train (training), val (valid, validation) and test (testing), they are the splits.
    If every image then is in a sub-folder, and there are at least two of these, they are the classes; many with a few
    images each are cases, which are groups.
    Images in a folder masks (or another of `MASK_FOLDERS`) are the masks of the images with the same name, with
    or without words such as _mask in it, beside that folder or in a folder images (image, imgs, img) beside it.
    Hidden files and folders are ignored, and those of the system, and runs, comparisons and predictions.
    Raises UserError if there is no image, for images beside folders of splits, for a mask without an image or among
    the images, for a class named images, and for a Hugging Face metadata file, which would be ignored.
    """
    skipped: Counter[str] = Counter()
    paths = sorted(images_below(directory, skipped))
    _check_no_metadata(directory, {os.path.dirname(path) for path in paths})
    masks = pair_masks(directory, paths)
    paths = [path for path in paths if mask_key(path) is None]
    if not paths:
        raise UserError(
            f"{directory}: no images in it or below it (looked for {', '.join(sorted(IMAGE_SUFFIXES))})"
            f"{_reading_hint(directory)}"
        )
    check_no_masks(directory, paths)
    splits = split_folders(directory, paths)
    below = [label_folders(path, has_splits=split is not None) for path, split in zip(paths, splits, strict=True)]
    outermost = [composed(next(iter(names), "")) for names in below]
    spelling = common_spellings(outermost)
    folders = [spelling[name] or None for name in outermost]
    _check_no_class_images(directory, paths, folders)
    classes, groups, notes = classes_and_cases(folders, ["/".join(names) for names in below], splits)
    index = {name: position for position, name in enumerate(classes)}
    records = [
        Record(
            id=path,
            image=ImageFile(image := f"{directory}/{path}"),
            label=index.get(folder or ""),
            group=group,
            split=split,
            mask=MaskFile(masks[path], image) if path in masks else None,
        )
        for path, folder, group, split in zip(paths, folders, groups, splits, strict=True)
    ]
    notes += describe_spellings(outermost) if classes else []
    if not (classes or any(groups)) and len(set(folders) - {None}) > 1:
        outside = paths[folders.index(None)]
        notes.append(
            f"not read as labels: the folders {some(sorted({*filter(None, folders)}))}, as {outside} is outside"
        )
    notes += [*_describe_kinds(paths), *describe_skipped(skipped)]
    name = directory.absolute().name
    return Collection(name, tuple(records), classes=classes, scored_classes=classes, notes=tuple(notes))


def inner_folder(directory: Path) -> Path:
    """The folder that holds the data: a single folder without images and tables around it is passed through."""
    folder, folders, files = next(walk(directory), (directory, [], []))
    if len(folders) != 1 or any(is_image(name) or name.lower().endswith(TABLE_SUFFIXES) for name in files):
        return directory
    inner = folder / folders[0]
    is_named = folders[0].lower() in IMAGE_FOLDERS | MASK_FOLDERS or split_named(folders[0])
    if is_named or layout_of_folder(folders[0]) or RunDirectory(inner).is_written():
        return directory
    _, below, files = next(walk(inner), (inner, [], []))
    holds_tables = any(name.lower().endswith(TABLE_SUFFIXES) for name in files)
    return inner_folder(inner) if below and (holds_tables or not any(map(is_image, files))) else directory


def images_below(directory: Path, skipped: Counter[str] | None = None) -> Iterator[str]:
    """Paths of all images below `directory`, relative to it, except in hidden folders and in output of jobs.

    skipped: counts the names of folders that are left out, and images of superpixels.
    Raises UserError for a folder that cannot be listed, and for a challenge's folder: its masks would be taken for
    images.
    """
    for folder, folders, files in walk(directory, skipped):
        _check_nested_layout(folder, folders)
        below = folder.relative_to(directory).as_posix()
        prefix = "" if below == "." else f"{below}/"
        for name in filter(is_image, files):
            if not name.isascii() and name != os.fsencode(name).decode(errors="replace"):
                raise UserError(f"{folder}: file name {name!r} is not UTF-8: rename it")
            if not stem_of(name).lower().endswith(SUPERPIXELS):
                yield prefix + name
            elif skipped is not None:
                skipped[f"*{SUPERPIXELS}"] += 1


def walk(directory: Path, skipped: Counter[str] | None = None) -> Iterator[tuple[Path, list[str], list[str]]]:
    """(folder, names of its folders, names of its files) of `directory` and all folders below it, except hidden ones,
    those of the system and output of jobs. Links are followed once. Raises UserError for a folder that cannot be
    listed."""
    seen = set()
    for folder, folders, files in os.walk(directory, onerror=_refuse, followlinks=True):
        if os.path.realpath(folder) in seen:  # a link back to a folder above
            folders.clear()
            continue
        seen.add(os.path.realpath(folder))
        left_out = [name for name in sorted(folders) if is_skipped(Path(folder, name))]
        if skipped is not None:
            skipped.update(left_out)
            links = [name for name in files if "." not in name and os.path.islink(Path(folder, name))]
            skipped.update(f"{name} (broken link)" for name in links if not os.path.exists(Path(folder, name)))
        folders[:] = [name for name in folders if name not in left_out]
        yield Path(folder), folders, files


def describe_skipped(skipped: Counter[str]) -> list[str]:
    """A line for the user about folders and files that are not read, if any."""
    named = ", ".join(f"{count:,} {name}" for name, count in skipped.most_common(6))
    return [f"not read, as they hold no data: {named}"] if skipped else []


def is_skipped(folder: Path) -> bool:
    """Whether a folder is hidden or the system's, or holds a run, a comparison or predictions: jobs write to the
    current directory, which may be the data's."""
    if folder.name.startswith(_SYSTEM_MARKS) or folder.name.lower() in _SYSTEM:
        return True
    return RunDirectory(folder).is_written() or any((folder / name).is_file() for name in _OUTPUT)


def _reading_hint(directory: Path) -> str:
    """The way to read a directory without images: as one of the Hugging Face hub, converted, or unpacked; "" if there
    is none."""
    names = {name for _, _, files in walk(directory) for name in files}
    is_hub = any(name.endswith((".parquet", ".arrow", ".tar")) or name == "dataset_dict.json" for name in names)
    others = sorted({suffix for name in names if (suffix := Path(name).suffix.lower()) in _NOT_READ | _HOLD_MANY})
    convert = f"; convert its {', '.join(others)} files to PNG or JPEG" if others else ""
    return (f"; its data files are read with --data hf:{directory}" if is_hub else convert) + archives_hint(directory)


def archives_hint(directory: Path) -> str:
    """What to do with the archives in a directory, which may hold what is missing; "" if there are none."""
    archives = sorted(file.name for file in directory.iterdir() if file.name.lower().endswith(_ARCHIVES))
    return f"; unpack {', '.join(archives[:3])}" if archives else ""


def _refuse(error: OSError) -> None:
    raise UserError(f"{error.filename}: cannot be listed: {error.strerror}") from error


def _check_nested_layout(folder: Path, names: list[str]) -> None:
    for name in names:
        layout = layout_of_folder(name)
        if layout is not None:
            raise UserError(f"{folder} holds {layout.name} ({name}): give this folder as --data, not one above it")


def _check_no_metadata(directory: Path, folders: Iterable[str]) -> None:
    for folder in sorted({"", *folders}):
        for name in _METADATA:
            file = directory / folder / name
            if file.is_file():
                raise UserError(
                    f"{file} would be ignored: use --data hf:{directory}, or this file, or put one CSV or Parquet "
                    f"table in {directory}"
                )


def split_folders(directory: Path, paths: Sequence[str]) -> list[str | None]:
    """The split of each image by the top folder of its path, if one of them is named train or training, else by the
    folders below, if all are splits.

    Raises UserError if other images then are outside of splits, and for folds, of which each holds all images.
    """
    named = [_splits_named(path.rpartition("/")[0]) for path in paths]
    folds = sorted({path.partition("/")[0] for path, splits in zip(paths, named, strict=True) if any(splits)})
    if len(folds) > 1 and all(map(_FOLD_FOLDER.fullmatch, folds)):
        raise UserError(
            f"{directory} holds {some(folds)}, each with all images in other splits: give one of them as --data"
        )
    splits = [outer for outer, _ in named]
    _check_one_folder_each({folders[0] for path in paths if (folders := _folders(path))})
    if "train" not in splits and None in splits:  # a study may have arms named test and control
        inner = [below for _, below in named]
        if "train" not in inner:
            return [None] * len(paths)
        splits = inner
    if None in splits:
        split = next(filter(split_named, _folders(paths[splits.index("train")])))
        outside = paths[splits.index(None)]
        raise UserError(
            f"{directory}: {split} is the name of a split, but {splits.count(None):,} of {len(paths):,} images are "
            f"outside of splits, e.g. {outside}: move these into {split} or remove them, or rename {split}"
        )
    return splits


def _check_one_folder_each(folders: Iterable[str]) -> None:
    """Raise UserError for folders such as train and train_512: images in two sizes, or parts."""
    first: dict[tuple[str, ...], str] = {}
    for folder in sorted(folders):
        if found := _SPLIT_FOLDER.fullmatch(folder.lower()):
            other = first.setdefault((found[1] or "", SPLITS[found[2]]), folder)
            if other != folder:
                raise UserError(f"{other} and {folder} are both named as one split: join them, or move one away")


@lru_cache
def _splits_named(path: str) -> tuple[str | None, str | None]:
    """The splits that the first two folders in the path of a folder hold."""
    first, second, *_ = [*_folders(f"{path}/"), "", ""]
    return split_named(first), split_named(second)


@lru_cache
def split_named(folder: str) -> str | None:
    """The split that a folder such as train, Test Data or val_images holds."""
    found = _SPLIT_FOLDER.fullmatch(folder.lower())
    return SPLITS[found[2]] if found else None


def split_of_path(path: str) -> str | None:
    """The split that the folders of a path name."""
    return next(filter(None, map(split_named, path.split("/")[:-1])), None)


def _folders(path: str) -> list[str]:
    """The folders in a path, except those named images, kinds of photographs and numbered parts of all images."""
    return [part for part in path.split("/")[:-1] if part.lower() not in IMAGE_FOLDERS and not _is_part(part)]


@lru_cache
def _is_part(folder: str) -> bool:
    return any(pattern.fullmatch(folder) for pattern in (_PART_FOLDER, _KIND_FOLDER))


def _describe_kinds(paths: Iterable[str]) -> list[str]:
    """A line for the user about folders of one kind of photograph, if any."""
    parts = set(chain.from_iterable(folder.split("/") for folder in {path.rpartition("/")[0] for path in paths}))
    kinds = sorted(filter(_KIND_FOLDER.fullmatch, parts))
    return [f"kinds of photographs, not classes: the folders {some(kinds)} (give one as --data)"] if kinds else []


def label_folders(path: str, *, has_splits: bool) -> list[str]:
    """The folders in a path, except those named images and the split."""
    folders = _folders(path)
    split = split_of_path(path) if has_splits else None
    return folders if split is None else [folder for folder in folders if split_named(folder) != split]


def _check_no_class_images(directory: Path, paths: Sequence[str], folders: Sequence[str | None]) -> None:
    for path, folder in zip(paths, folders, strict=True):
        if folder is None and "/" in path and path.split("/")[-2].lower() in IMAGE_FOLDERS and any(folders):
            parent = os.path.dirname(path)
            raise UserError(
                f"{directory} holds {parent} beside class folders: {os.path.basename(parent)} is not a class; rename "
                "it, or give only that folder as --data"
            )


def unused_files(collection: Collection, directory: Path) -> list[str]:
    """Image files below `directory`, relative to it and sorted, that are neither an image nor a mask of the collection:
    superpixels, masks whose image is missing, formats that are not read, other images."""
    used = {
        reference.path.resolve()
        for record in collection.records
        for reference in (record.image, record.mask)
        if isinstance(reference, ImageFile | MaskFile)
    }
    if not used:  # a collection that is not read from files
        return []
    found = (folder / name for folder, _, names in walk(directory) for name in filter(_is_any_image, names))
    return sorted(str(file.relative_to(directory)) for file in found if file.resolve() not in used)


def _is_any_image(name: str) -> bool:
    return is_image(name) or (not name.startswith(".") and Path(name).suffix.lower() in _NOT_READ)
