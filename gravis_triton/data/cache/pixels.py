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
        raise ValueError(
            f"{image.width} x {image.height} is longer than {LONGEST_ASPECT} times its short side"
        )


def check_fit(mask: tuple[int, int], image: tuple[int, int]) -> None:
    """Raise ValueError unless a mask fits its image: both (width, height) have the same aspect ratio, to within a pixel
    of the larger one."""
    if abs(image[0] * mask[1] - image[1] * mask[0]) > max(*image, *mask):
        raise ValueError(
            f"mask ({mask[0]} x {mask[1]}) and image ({image[0]} x {image[1]}) differ in aspect ratio"
        )


# The ISIC challenges' rule: a pixel is lesion above this value.
_LESION_ABOVE = 128


def native_mask(record: Record) -> NDArray[np.uint8]:
    """The mask of `record` at its native size: (height, width), 255 where lesion (above 128 in the file), else 0.

    Upright, like the image. Raises OSError or ValueError if there is no mask or it cannot be read.
    """
    if record.mask is None:
        raise ValueError(f"{record.id} has no mask")
    return lesion_pixels(record.mask.read())


def lesion_pixels(mask: Image.Image) -> NDArray[np.uint8]:
    """(height, width), 255 where the value of an 8-bit gray mask is above 128, else 0.

    Raises ValueError for a mask with the values 0 and 1, which would be empty by this rule.
    """
    values = np.asarray(mask)
    if values.max() == 1:
        raise ValueError("mask has the values 0 and 1: lesion must be 255")
    return _above(values)


def fitted_mask(mask: Image.Image, height: int, width: int) -> NDArray[np.uint8]:
    """`lesion_pixels` at another size: a pixel is lesion if more than half of its area is."""
    native = Image.fromarray(lesion_pixels(mask))
    return _above(np.asarray(native.resize((width, height), Image.Resampling.BOX)))


def _above(values: np.ndarray) -> NDArray[np.uint8]:
    return (values > _LESION_ABOVE).astype(np.uint8) * np.uint8(255)
