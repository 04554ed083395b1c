"""Lesion masks as arrays: which of a mask's pixels are lesion, at its native size and smaller."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gravis_triton.data.records import Record

# The challenges' rule: a pixel is lesion above this value.
_LESION_ABOVE = 128


def native_mask(record: Record) -> NDArray[np.uint8]:
    """The mask of `record` at its native size: (height, width), 255 where lesion (above 128 in the file), else 0.

    It lies upright, as the photograph does. Raises OSError or ValueError where there is no mask, or none that can be
    read.
    """
    if record.mask is None:
        raise ValueError(f"{record.id} has no mask")
    return lesion_pixels(record.mask.read())


def lesion_pixels(mask: Image.Image) -> NDArray[np.uint8]:
    """(height, width), 255 where the value of an 8-bit grey mask is above 128, else 0.

    Raises ValueError for a mask of the values 0 and 1, which would be empty by this rule.
    """
    values = np.asarray(mask)
    if values.max() == 1:
        raise ValueError("a mask of the values 0 and 1: lesion must be 255")
    return _above(values)


def fitted_mask(mask: Image.Image, height: int, width: int) -> NDArray[np.uint8]:
    """`lesion_pixels` at another size: lesion where more than half of a pixel's area is."""
    native = Image.fromarray(lesion_pixels(mask))
    return _above(np.asarray(native.resize((width, height), Image.Resampling.BOX)))


def _above(values: np.ndarray) -> NDArray[np.uint8]:
    return (values > _LESION_ABOVE).astype(np.uint8) * np.uint8(255)
