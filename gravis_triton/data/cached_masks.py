"""Reading the lesion masks of the decode-once cache."""

from collections.abc import Sequence

import numpy as np

from gravis_triton.data.mapped import MappedRows
from gravis_triton.data.shards import Shard


class CachedMasks:
    """The lesion masks of cached images, memory-mapped.

    masks[i]: (height, width) uint8, 255 where lesion, else 0: that of the i-th image, of its very height and width; a
    read-only view. Raises KeyError where that image has no mask.
    Pickles as the names of its files; another process maps them again.
    """

    def __init__(self, shards: Sequence[Shard], owners: Sequence[int], images: int) -> None:
        """owners: index of the image of each row; images: how many images there are."""
        self._shards, self._owners, self._images = tuple(shards), tuple(owners), images
        self._rows = MappedRows(self._shards)
        self._row_of = {owner: row for row, owner in enumerate(self._owners)}
        self.skipped = self._rows.skipped

    def __len__(self) -> int:
        return self._images

    def __getitem__(self, index: int) -> np.ndarray:
        if not 0 <= index < self._images:
            raise IndexError(index)
        if index not in self._row_of:
            raise KeyError(f"image {index} has no mask")
        return self._rows.pixels(self._row_of[index], ())

    def __reduce__(self) -> tuple[type, tuple[tuple[Shard, ...], tuple[int, ...], int]]:
        return CachedMasks, (self._shards, self._owners, self._images)
