"""Any folder of images, with or without class sub-folders, splits and folders of masks."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from PIL import Image

from gravis_triton.data.datasets.columns import SPLITS
from gravis_triton.data.datasets.frame import TABLE_SUFFIXES, is_unknown
from gravis_triton.data.datasets.groups import describe_groups
from gravis_triton.data.datasets.labels import are_cases
from gravis_triton.data.datasets.layouts import layout_of_folder
from gravis_triton.data.datasets.records import Collection, Record
from gravis_triton.data.datasets.references import ImageFile, MaskFile
from gravis_triton.errors import UserError
from gravis_triton.run_directory import RunDirectory

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp"})
IMAGE_FOLDERS = frozenset({"image", "images", "img", "imgs"})
MASK_FOLDERS = frozenset({"mask", "masks", "segmentation", "segmentations", "groundtruth", "ground_truth", "gt"})
_SYSTEM = frozenset(
    {"@eadir", "@tmp", "#recycle", "@recycle", "#snapshot", "$recycle.bin", "recycler", "lost+found", "__macosx"}
    | {"system volume information", "found.000", "__pycache__"}
)  # fmt: skip
_METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
_OUTPUT = ("comparison.json", "predictions.csv", "predictions.parquet")
_MASK_ENDINGS = ("_segmentation", "_mask")
# the others may also be photographs
_LIKE_MASKS = re.compile(r"_(segmentation|mask|lesion|roi|seg|gt|groundtruth|label)(\.[^./]*)?$", re.IGNORECASE)
_LOSSLESS = (".png", ".bmp", ".gif", ".tif", ".tiff")
_SAMPLE = 32  # files whose pixels are looked at


def open_folder(directory: Path) -> Collection:
    """Every image below `directory`; an image's id is its path relative to it.

    If the top folders are named train (training), val (valid, validation) and test (testing), they are the splits.
    If every image then is in a sub-folder, and there are at least two of these, they are the classes; many with a few
    images each are cases, which are groups.
    Images in a folder masks (or another of `MASK_FOLDERS`) are the masks of the images with the same name, with
    or without a final _segmentation or _mask, beside that folder or in a folder images (image, imgs, img) beside it.
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
            f"{_hub_hint(directory)}"
        )
    check_no_masks(directory, paths)
    splits = split_folders(directory, paths)
    folders = [_class_folder(path, has_splits=split is not None) for path, split in zip(paths, splits, strict=True)]
    _check_no_class_images(directory, paths, folders)
    classes, groups, notes = _classes_and_cases(paths, folders)
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
    notes = [*notes, *describe_skipped(skipped)]
    name = directory.absolute().name
    return Collection(name, tuple(records), classes=classes, scored_classes=classes, notes=tuple(notes))


def _classes_and_cases(
    paths: Sequence[str], folders: Sequence[str | None]
) -> tuple[tuple[str, ...], list[str | None], list[str]]:
    """(classes, group of each image, lines for the user). folders: the class folder of each image, or None.

    Many folders of few images are lesions: instead of classes, or inside of them.
    """
    none: list[str | None] = [None] * len(paths)
    names = {folder for folder in folders if folder is not None}
    if None in folders or len(names) < 2:
        return (), none, []
    parents: list[str | None] = [os.path.dirname(path) for path in paths]
    for cases, where in ((list(folders), "not as classes"), (parents, "inside of the classes")):
        if are_cases(len(set(cases)), len(paths)):
            notes = [f"{len(set(cases)):,} folders of few images each are read as lesions, {where}"]
            notes += describe_groups(cases, f"{len(set(cases)):,} folders")
            return (() if where[0] == "n" else tuple(sorted(names))), cases, notes
    classes = tuple(sorted(name for name in names if not is_unknown(name)))
    unknown = sum(is_unknown(folder or "") for folder in folders)
    notes = [f"without a label: {unknown:,} images in folders such as unknown"] if unknown else []
    return classes if len(classes) > 1 else (), none, notes


def inner_folder(directory: Path) -> Path:
    """The folder that holds the data: a single folder without images and tables around it is passed through."""
    folder, folders, files = next(walk(directory), (directory, [], []))
    if len(folders) != 1 or any(is_image(name) or name.lower().endswith(TABLE_SUFFIXES) for name in files):
        return directory
    inner = folder / folders[0]
    is_named = folders[0].lower() in IMAGE_FOLDERS | MASK_FOLDERS | SPLITS.keys()
    if is_named or layout_of_folder(folders[0]) or RunDirectory(inner).is_written():
        return directory
    _, below, files = next(walk(inner), (inner, [], []))
    if any(map(layout_of_folder, below)):
        return directory
    holds_tables = any(name.lower().endswith(TABLE_SUFFIXES) for name in files)
    return inner_folder(inner) if below and (holds_tables or not any(map(is_image, files))) else directory


def pair_masks(directory: Path, paths: Iterable[str]) -> dict[str, str]:
    """Match images and masks below `directory`: path of an image relative to it -> mask file.

    Raises UserError for a mask without an image, and for an image with two masks or a mask with two images.
    """
    masks: dict[str, list[str]] = defaultdict(list)
    plain = []
    for path in paths:
        key = mask_key(path)
        if key is None:
            plain.append(path)
        else:
            masks[key].append(path)
    images: dict[str, list[str]] = defaultdict(list)
    for path in plain if masks else []:
        images[_key(path, IMAGE_FOLDERS)].append(path)
    unmatched = [mask for key, found in masks.items() if key not in images for mask in found]
    if unmatched:
        raise UserError(
            f"{len(unmatched)} of {len(masks)} masks have no image, e.g. {directory / unmatched[0]}: expected an image "
            "with the same name in a folder images beside the folder of masks; if masks is a class, rename it"
        )
    for key in masks:
        for what, found in (("masks of one image", masks[key]), ("images of one mask", images[key])):
            if len(found) > 1:
                raise UserError(f"two {what}: {directory / found[0]} and {directory / found[1]}; remove one")
    return {images[key][0]: f"{directory}/{found[0]}" for key, found in masks.items()}


def mask_key(path: str) -> str | None:
    """The path that a mask shares with its image, without suffix and without folders named masks or images; None for
    an image."""
    if not _holds_masks(path[: max(0, path.rfind("/"))]):
        return None
    key = _key(path, IMAGE_FOLDERS | MASK_FOLDERS)
    ending = next((ending for ending in _MASK_ENDINGS if key.lower().endswith(ending)), "")
    return key[: len(key) - len(ending)]


@lru_cache
def _holds_masks(folder: str) -> bool:
    return not MASK_FOLDERS.isdisjoint(folder.lower().split("/"))


def _key(path: str, without: frozenset[str]) -> str:
    *folders, name = path.split("/")
    return "/".join([*(part for part in folders if part.lower() not in without), stem_of(name)])


def stem_of(name: str) -> str:
    """A file's name, without folders, without its suffix."""
    dot = name.rfind(".")
    return name[:dot] if dot > 0 else name


def is_image(name: str) -> bool:
    """Whether a file with this name is read as an image."""
    return name[0] != "." and name[name.rfind(".") :].lower() in IMAGE_SUFFIXES


def images_below(directory: Path, skipped: Counter[str] | None = None) -> Iterator[str]:
    """Paths of all images below `directory`, relative to it, except in hidden folders and in output of jobs.

    skipped: counts the names of folders that are left out.
    Raises UserError for a folder that cannot be listed, and for a challenge's folder: its masks would be taken for
    images.
    """
    for folder, folders, files in walk(directory, skipped):
        _check_nested_layout(folder, folders)
        below = folder.relative_to(directory).as_posix()
        prefix = "" if below == "." else f"{below}/"
        for name in filter(is_image, files):
            yield prefix + _checked_name(folder, name)


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
        left_out = [name for name in sorted(folders) if _is_skipped(Path(folder, name))]
        if skipped is not None:
            skipped.update(left_out)
        folders[:] = [name for name in folders if name not in left_out]
        yield Path(folder), folders, files


def describe_skipped(skipped: Counter[str]) -> list[str]:
    """A line for the user about folders that are not read, if any."""
    named = ", ".join(f"{count:,} {name}" for name, count in skipped.most_common(6))
    return [f"folders that are not read, as they hold no data: {named}"] if skipped else []


def _is_skipped(folder: Path) -> bool:
    """Whether a folder is hidden or the system's, or holds a run, a comparison or predictions: jobs write to the
    current directory, which may be the data's."""
    if folder.name.startswith(".") or folder.name.lower() in _SYSTEM:
        return True
    return RunDirectory(folder).is_written() or any((folder / name).is_file() for name in _OUTPUT)


def check_no_masks(directory: Path, images: Sequence[str]) -> None:
    """Raise UserError for masks among the images, by their names or by pixels of two values."""
    perhaps = {path: _name(path) for path in images if _LIKE_MASKS.search(path)}
    stems = set(map(_name, images)) if perhaps else set()
    beside = [(path, name) for path, name in perhaps.items() if name.rpartition("_")[0] in stems]
    found = next((path for path, name in beside if name.endswith(_MASK_ENDINGS)), None)
    alike = [path for path, name in beside if not name.endswith(_MASK_ENDINGS)][:_SAMPLE]
    found = found or next((path for path in alike if _has_two_values(directory / path, least=0)), None)
    gray = [path for path in images if path[path.rfind(".") :].lower() in _LOSSLESS]
    found = found or next(
        (path for path in gray[:: len(gray) // _SAMPLE + 1] if _has_two_values(directory / path)), None
    )
    if found:
        raise UserError(
            f"{(directory / found).parent} holds masks among its images, such as {stem_of(found).rpartition('/')[2]}: "
            "move them into a folder named masks"
        )


def _name(path: str) -> str:
    return stem_of(path[path.rfind("/") + 1 :]).lower()


def _has_two_values(file: Path, least: int = 256) -> bool:
    """Whether an image of at least so many pixels has two colors."""
    try:
        with Image.open(file) as image:
            if image.width * image.height < least:
                return False
            colors = image.getcolors(2) if image.mode in ("1", "L", "P", "RGB") else None
            return colors is not None and len(colors) == 2
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False


def _hub_hint(directory: Path) -> str:
    """The way to read a directory of the Hugging Face hub, if it is one."""
    names = {name for _, _, files in walk(directory) for name in files}
    is_hub = any(name.endswith((".parquet", ".arrow")) or name == "dataset_dict.json" for name in names)
    return f"; its data files are read with --data hf:{directory}" if is_hub else ""


def _checked_name(folder: Path, name: str) -> str:
    if name.isascii():
        return name
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
            raise UserError(f"{folder} holds {layout.name} ({name}): give this folder as --data, not one above it")


def _check_no_metadata(directory: Path, folders: Iterable[str]) -> None:
    for folder in sorted({"", *folders}):
        for name in _METADATA:
            file = directory / folder / name
            if file.is_file():
                raise UserError(
                    f"{file} would be ignored: use --data hf:{directory}, or put one CSV or Parquet table in "
                    f"{directory}"
                )


def split_folders(directory: Path, paths: Sequence[str]) -> list[str | None]:
    """The split of each image by the top folder of its path, if one of them is named train or training.

    Raises UserError if other images then are outside of splits.
    """
    tops = [next(iter(_folders(path)), "") for path in paths]
    splits = [SPLITS.get(top.lower()) for top in tops]
    if "train" not in splits and None in splits:  # a study may have arms named test and control
        return [None] * len(paths)
    if None in splits:
        split = tops[splits.index("train")]
        outside = paths[splits.index(None)]
        raise UserError(
            f"{directory}: {split} is the name of a split, but {splits.count(None):,} of {len(paths):,} images are "
            f"outside of splits, e.g. {outside}: move these into {split} or remove them, or rename {split}"
        )
    return splits


def _folders(path: str) -> list[str]:
    """The folders in a path, except those named images."""
    if "/" not in path:
        return []
    return [part for part in path.split("/")[:-1] if part.lower() not in IMAGE_FOLDERS]


def _class_folder(path: str, *, has_splits: bool) -> str | None:
    return next(iter(_folders(path)[int(has_splits) :]), None)


def _check_no_class_images(directory: Path, paths: Sequence[str], folders: Sequence[str | None]) -> None:
    for path, folder in zip(paths, folders, strict=True):
        if folder is None and "/" in path and path.split("/")[-2].lower() in IMAGE_FOLDERS and any(folders):
            parent = os.path.dirname(path)
            raise UserError(
                f"{directory} holds {parent} beside class folders: {os.path.basename(parent)} is not a class; rename "
                "it, or give only that folder as --data"
            )
