"""The rows of the cache: images, and the lesion masks of images."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from gravis_triton.data.cache.pixels import check_fit, fitted_mask, resized_pixels
from gravis_triton.data.datasets.records import ImageReference


class CacheItem(Protocol):
    """An image or mask to put into the cache."""

    @property
    def id(self) -> str: ...

    def pixels(self) -> np.ndarray:
        """uint8, (height, width, 3) or (height, width). Raises OSError or ValueError if it cannot be decoded."""
        ...

    def fingerprint(self) -> str:
        """Changes whenever `pixels` may have changed, except by the `kind` of `shard_of`."""
        ...


@dataclass(frozen=True, slots=True)
class ImageItem:
    """An image, (height, width, 3) with the given short side."""

    id: str
    image: ImageReference
    short_side: int

    def pixels(self) -> np.ndarray:
        return resized_pixels(self.image.read(self.short_side), self.short_side)

    def fingerprint(self) -> str:
        return self.image.fingerprint()

    def __str__(self) -> str:
        return f"the image {self.id}"


@dataclass(frozen=True, slots=True)
class MaskItem:
    """The mask of an image, at the cached image's (height, width); 255 where lesion, else 0.

    `pixels` raises ValueError if the mask does not fit its image (`check_fit`).
    """

    id: str
    mask: ImageReference
    image: ImageReference
    height: int
    width: int

    def pixels(self) -> np.ndarray:
        mask = self.mask.read(min(self.height, self.width))
        check_fit(mask.size, self.image.size())
        return fitted_mask(mask, self.height, self.width)

    def fingerprint(self) -> str:
        return f"{self.mask.fingerprint()}:{self.height}x{self.width}"

    def __str__(self) -> str:
        return f"the mask of {self.id}"
