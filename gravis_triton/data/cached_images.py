"""Reading the images of the decode-once cache."""

from collections.abc import Sequence

import numpy as np

from gravis_triton.data.mapped import MappedRows
from gravis_triton.data.records import Record
from gravis_triton.data.shards import Shard


class CachedImages:
    """The readable images of a sequence of records, decoded, resized and memory-mapped.

    images[i]: (height, width, 3) uint8, the i-th readable record; a read-only view of the mapped file, not a
    copy.
    records: the readable records, in their order.
    skipped: (id, reason) of those that could not be decoded.
    Pickles as the names of its files; another process maps them again.
    """

    def __init__(self, shards: Sequence[Shard], records: Sequence[Record]) -> None:
        self._shards = tuple(shards)
        self._all_records = tuple(records)
        self._rows = MappedRows(self._shards)
        self._readable = [row for row, height in enumerate(self._rows.height) if height > 0]
        self.records = tuple(self._all_records[row] for row in self._readable)
        self.skipped = self._rows.skipped

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> np.ndarray:
        return self._rows.pixels(self._readable[index], (3,))

    def followed_by(self, others: "CachedImages") -> "CachedImages":
        """These images, then the others."""
        return CachedImages((*self._shards, *others._shards), (*self._all_records, *others._all_records))

    def __reduce__(self) -> tuple[type, tuple[tuple[Shard, ...], tuple[Record, ...]]]:
        return CachedImages, (self._shards, self._all_records)
