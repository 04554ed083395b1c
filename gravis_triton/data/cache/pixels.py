"""Pixels of images (resized without distortion) and masks (lesion or not)."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gravis_triton.data.datasets.records import Record

# No dermatoscope or camera takes images longer than this times their short side.
LONGEST_ASPECT = 16


def resized_pixels(image: Image.Image, short_side: int) -> np.ndarray:
    """`image` as (height, width, 3) uint8 with min(height, width) == short_side.

    The whole field of view and the aspect ratio are kept (the long side is rounded to whole pixels);
    antialiased bicubic. Raises ValueError for an image longer than 16 times its short side.
    """
    check_aspect(image)
    scale = short_side / min(image.size)
    width, height = (max(short_side, round(side * scale)) for side in image.size)
    # reducing_gap averages whole blocks first: visually as good, and much faster for large images.
    resized = image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=3.0)
    return np.asarray(resized.convert("RGB"))


def check_aspect(image: Image.Image) -> None:
    """Raise ValueError for an image longer than 16 times its short side."""
    if max(image.size) > LONGEST_ASPECT * min(image.size):
        raise ValueError(f"{image.width} x {image.height} is longer than {LONGEST_ASPECT} times its short side")


def check_fit(mask: tuple[int, int], image: tuple[int, int]) -> None:
    """Raise ValueError unless a mask fits its image: both (width, height) have the same aspect ratio, to within a pixel
    of the larger one."""
    if abs(image[0] * mask[1] - image[1] * mask[0]) > max(*image, *mask):
        raise ValueError(f"mask ({mask[0]} x {mask[1]}) and image ({image[0]} x {image[1]}) differ in aspect ratio")


# The ISIC challenges' rule: a pixel is lesion above this value.
_LESION_ABOVE = 128
_BRIGHT = 192  # some pixel of a lesion that is 255 is brighter, also at soft edges and in JPEG files
_BLACK = 24  # 12 of 16 bits are at most 15 of 255
_COVERED = 0.95  # share of an image that a lesion rarely covers


def native_mask(record: Record) -> NDArray[np.uint8]:
    """The mask of `record` at its native size: (height, width), 255 where lesion (above 128 in the file), else 0.

    Upright, like the image. Raises OSError or ValueError if there is no mask or it cannot be read.
    """
    if record.mask is None:
        raise ValueError(f"{record.id} has no mask")
    return lesion_pixels(record.mask.read())


def lesion_pixels(mask: Image.Image) -> NDArray[np.uint8]:
    """(height, width), 255 where lesion, else 0: where an 8-bit gray mask is above 128, or has the higher one of two
    values.

    Raises ValueError for a mask of one or many values that are all far below 255, for one of three to eight levels
    whose middle ones are no mere edge, and for one with many pixels near 128.
    """
    values = np.asarray(mask)
    sizes = np.bincount(values.ravel(), minlength=256)
    levels = np.flatnonzero(sizes)
    if len(levels) == 2 and levels[0] <= _LESION_ABOVE:
        return (values == levels[1]).astype(np.uint8) * np.uint8(255)
    is_dark = 0 < levels[-1] < _BRIGHT
    few = len(levels) <= 8
    between, most = (sizes[32:224], sizes[224:].sum() / 2) if few else (sizes[96:160], values.size / 10)
    has_steps = len(levels) > 2 and values.size >= 1024 and between.sum() > min(most, values.size / 10)
    if is_dark or has_steps:
        shown = ", ".join(map(str, levels)) if few else f"{levels[0]} to {levels[-1]}"
        raise ValueError(f"mask has the values {shown}: lesion must be 255, all else 0")
    return _above(values)


def other_levels(mask: Image.Image) -> str:
    """The values "0 and 127" of a mask that has two values instead of 0 and 255, else ""."""
    levels = sorted(value for _, value in mask.getcolors(256) or [])
    return f"{levels[0]} and {levels[1]}" if len(levels) == 2 and levels != [0, 255] else ""


def is_suspect(lesion: NDArray[np.uint8]) -> bool:
    """Whether a mask has no lesion, or lesion nearly everywhere, or in all its corners: inverted."""
    corners = lesion[[0, 0, -1, -1], [0, -1, 0, -1]]
    return not lesion.any() or lesion.mean() > _COVERED * 255 or bool(corners.all())


def most_are_suspect(suspect: int, masks: int) -> bool:
    """Whether so many masks are suspect that they probably mean something else."""
    return masks >= 4 and suspect > masks / 2


def is_nearly_black(pixels: NDArray[np.uint8]) -> bool:
    """Whether no pixel is brighter than a photograph of 12 bits in a file of 16 would be, or little more."""
    return bool(pixels.max(initial=0) < _BLACK)


def fitted_mask(mask: Image.Image, height: int, width: int) -> NDArray[np.uint8]:
    """`lesion_pixels` at another size: a pixel is lesion if more than half of its area is."""
    native = Image.fromarray(lesion_pixels(mask))
    return _above(np.asarray(native.resize((width, height), Image.Resampling.BOX)))


def _above(values: np.ndarray) -> NDArray[np.uint8]:
    return (values > _LESION_ABOVE).astype(np.uint8) * np.uint8(255)
