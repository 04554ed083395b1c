"""What decoded images and masks look like to whoever uses them."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


class Images(Protocol):
    """Decoded images by index, (height, width, 3) uint8; `CachedImages` is one."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Pixels: ...


class Masks(Protocol):
    """Lesion masks by the index of their image, (height, width) uint8, 255 or 0; `CachedMasks` is one."""

    def __getitem__(self, index: int) -> Pixels: ...
