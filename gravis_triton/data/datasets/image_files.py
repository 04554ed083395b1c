"""Image files and their masks: told apart and matched by their names."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import filterfalse
from pathlib import Path

import numpy as np
from PIL import Image

from gravis_triton.errors import UserError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp"})
IMAGE_FOLDERS = frozenset({"image", "images", "img", "imgs"})
MASK_FOLDERS = frozenset(
    {"mask", "masks", "segmentation", "segmentations", "groundtruth", "ground_truth", "gt"}
    | {"ground truth", "ground-truth"}
)  # fmt: skip
_NO_PARTS = IMAGE_FOLDERS | MASK_FOLDERS
_MASK_NAME = re.compile(
    r"^(?:(mask|segmentation)|seg|gt)[-_ .]+|[-_ .]+(?:(mask|segmentation)s?|seg|gt|groundtruth|lesion|roi|label)$",
    re.IGNORECASE,
)
"""What the names of masks have before or after that of the image; those without a group may also be photographs."""
_IMAGE_WORD = re.compile(r"(?:^|(?<=/))(image|img|im|photo|pic)[-_ .]*(?=\d)", re.IGNORECASE)
_MASK_WORDS = frozenset({"mask", "masks", "gt", "groundtruth"})  # last words of folders such as train_masks
_LOSSLESS = (".png", ".bmp", ".gif", ".tif", ".tiff")
_FEW_FOLDERS = 12
_SAMPLE = 32  # files whose pixels are looked at


def is_image(name: str) -> bool:
    """Whether a file with this name is read as an image."""
    return name[:1] != "." and name[name.rfind(".") :].lower() in IMAGE_SUFFIXES


def composed(name: str) -> str:
    """A name with letters and accents in one: macOS splits them."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def stem_of(name: str) -> str:
    """A file's name, without folders, without its suffix."""
    dot = name.rfind(".")
    return name[:dot] if dot > 0 else name


def pair_masks(directory: Path, paths: Iterable[str]) -> dict[str, str]:
    """Match images and masks below `directory`: path of an image relative to it -> mask file.

    Raises UserError for a mask without an image, and for an image with two masks or a mask with two images.
    """
    is_mask = {path: mask_key(path) is not None for path in paths}
    images: dict[str, list[str]] = defaultdict(list)
    for path in is_mask if any(is_mask.values()) else ():
        if not is_mask[path]:
            images[_key(path, IMAGE_FOLDERS)].append(path)
    numbered = _unique({key: _IMAGE_WORD.sub("", key, 1) for key in images})
    named = _unique({key: key.rpartition("/")[2] for key in images})
    masks: dict[str, list[str]] = defaultdict(list)
    for path in filter(is_mask.get, is_mask):
        keys = list(_mask_keys(path))
        bare = keys[1]  # of mask_001: 001, whose image may be img_001
        others = (numbered.get(bare), *(named.get(key.rpartition("/")[2]) for key in keys))
        masks[next((key for key in (*keys, *others) if key in images), bare)].append(path)
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


def _unique(names: Mapping[str, str]) -> dict[str, str]:
    """Name -> key, for the names that only one key has."""
    counts = Counter(names.values())
    return {name: key for key, name in names.items() if counts[name] == 1}


def mask_key(path: str) -> str | None:
    """The path that a mask shares with its image, but for words such as _mask in its name, without suffix and without
    folders named masks or images; None for an image."""
    return _key(path, _NO_PARTS) if _holds_masks(path.rpartition("/")[0]) else None


def _mask_keys(path: str) -> Iterator[str]:
    """The keys that the image of a mask may have: with and without words such as _mask in its name, in a folder lesion
    beside a folder lesion_masks, or in a folder images beside it."""
    *folders, name = path.split("/")
    for key in (mask_key(path) or "", _key("/".join([*filterfalse(_is_mask_folder, folders), name]), _NO_PARTS)):
        folder, slash, stem = key.rpartition("/")
        yield from (key, f"{folder}{slash}{_MASK_NAME.sub('', stem, 1)}")


@lru_cache
def _holds_masks(folder: str) -> bool:
    return any(part.lower() in MASK_FOLDERS or _is_mask_folder(part) for part in folder.split("/"))


def _is_mask_folder(folder: str) -> bool:
    """Whether the last word is mask or the like, as in train_masks, beside train_images."""
    first, *words = re.split(r"[-_ ]", folder.lower())
    return bool(first and words) and words[-1] in _MASK_WORDS


def _key(path: str, without: frozenset[str]) -> str:
    *folders, name = composed(path).split("/")
    stem = stem_of(name)
    return "/".join(
        [*filter(None, (_without(part, without) for part in folders)), stem_of(stem) if is_image(stem) else stem]
    )


@lru_cache
def _without(folder: str, words: frozenset[str]) -> str:
    """A folder's name without a last word, "" if nothing is left."""
    if folder.lower() in words:
        return ""
    rest, last = re.fullmatch(r"(.*?)[-_ ]?([^-_ ]*)", folder).groups()  # type: ignore[union-attr]
    return rest if rest and last.lower() in words else folder


def check_no_masks(directory: Path, images: Sequence[str]) -> None:
    """Raise UserError for masks among the images, by their names or by pixels of two values."""
    marked = {path: mark for path in images if (mark := _MASK_NAME.search(_stem(path)))}
    stems = {_stem(path).lower() for path in images} if marked else set()
    beside = {path: mark for path, mark in marked.items() if _MASK_NAME.sub("", mark.string, 1).lower() in stems}
    found = next((path for path, mark in beside.items() if any(mark.groups())), None)
    alike = [path for path, mark in beside.items() if not any(mark.groups())][:_SAMPLE]
    found = found or next((path for path in alike if _has_two_values(directory / path, least=0)), None)
    gray = [path for path in images if path[path.rfind(".") :].lower() in _LOSSLESS]
    found = found or next(
        (path for path in gray[:: len(gray) // _SAMPLE + 1] if _has_two_values(directory / path)), None
    )
    found = found or _mask_of_twins(directory, images)
    if found:
        raise UserError(
            f"{(directory / found).parent} holds masks among its images, such as {stem_of(found).rpartition('/')[2]}: "
            "move them into a folder named masks, beside the photographs in a folder named images"
        )


def _mask_of_twins(directory: Path, images: Sequence[str]) -> str | None:
    """One of the images of a folder that have the names of those in another folder and look like masks, if any."""
    folders: dict[str, dict[str, str]] = defaultdict(dict)
    for path in images:
        folders[path.rpartition("/")[0]][_stem(path).removesuffix("_0000")] = path  # nnU-Net's first channel
    for folder, own in folders.items() if 1 < len(folders) <= _FEW_FOLDERS else ():
        others = [names for name, names in folders.items() if name != folder]
        twins = [path for stem, path in own.items() if any(stem in names for names in others)]
        sample = twins[:: len(twins) // 4 + 1]
        if len(twins) > len(own) / 2 and all(_looks_like_mask(directory / path) for path in sample):
            return sample[0]
    return None


def _looks_like_mask(file: Path) -> bool:
    """Whether nearly all pixels of an image are gray and of a few levels, at least two."""
    try:
        with Image.open(file) as image:
            pixels = np.asarray(image.convert("RGB").resize((64, 64), Image.Resampling.NEAREST)).astype(np.int64)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False
    levels = np.sort(np.bincount(pixels[..., 1].ravel() // 16, minlength=16))
    is_gray, is_flat = (np.ptp(pixels, axis=-1) <= 24).mean() > 0.98, levels[-4:].sum() > 0.95 * levels.sum()
    return bool(is_gray and is_flat and np.ptp(pixels[..., 1]) > 0)


def _stem(path: str) -> str:
    return stem_of(path[path.rfind("/") + 1 :])


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
