"""Reading the cache: decoded images and masks, memory-mapped."""

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from gravis_triton.data.cache.shards import Shard, open_table, skipped_in
from gravis_triton.data.datasets.records import Record
from gravis_triton.errors import UserError

Pixels = NDArray[np.uint8]


class Images(Protocol):
    """Decoded images by index, (height, width, 3) uint8; `CachedImages` is one."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Pixels: ...


class Masks(Protocol):
    """Lesion masks by the index of their image, (height, width) uint8, 255 or 0; `CachedMasks` is one."""

    def __getitem__(self, index: int) -> Pixels: ...


class MappedRows:
    """The rows of consecutive shards.

    height, width: of each row's item in pixels; 0 if it could not be decoded.
    skipped: (id, reason) of the items that could not be decoded.
    """

    def __init__(self, shards: Sequence[Shard]) -> None:
        tables = [_open(shard) for shard in shards]
        self._files = [_MappedFile(shard.file) for shard in shards]
        self._buffers: list[np.ndarray] = []
        self._file_of: list[int] = []
        heights, widths, buffers, starts = [], [], [], []
        for number, table in enumerate(tables):
            heights += [chunk.to_numpy() for chunk in table["height"].chunks]
            widths += [chunk.to_numpy() for chunk in table["width"].chunks]
            for chunk in table["pixels"].chunks:
                pixels, offsets = _bytes_of(chunk)
                buffers.append(np.full(len(chunk), len(self._buffers)))
                starts.append(offsets[:-1])
                self._buffers.append(pixels)
                self._file_of.append(number)
        self.height: list[int] = _joined(heights).tolist()
        self.width: list[int] = _joined(widths).tolist()
        self._buffer = _joined(buffers).tolist()
        self._start = _joined(starts).tolist()
        self.skipped = tuple(entry for table in tables for entry in skipped_in(table))

    def pixels(self, row: int, channels: tuple[int, ...]) -> np.ndarray:
        """(height, width, *channels) uint8: a read-only view of the mapped file, not a copy. Raises UserError if the
        file has been truncated."""
        shape = (self.height[row], self.width[row], *channels)
        start, buffer = self._start[row], self._buffer[row]
        self._files[self._file_of[buffer]].check()
        return self._buffers[buffer][start : start + math.prod(shape)].reshape(shape)


class _MappedFile:
    """A memory-mapped file; reading past a truncated end would kill the process (SIGBUS)."""

    def __init__(self, file: Path) -> None:
        self.file, self.status = file, file.stat()

    def check(self) -> None:
        """Raise UserError if the file has become shorter. A deleted or replaced file stays mapped as it was."""
        try:
            now = os.stat(self.file)
        except OSError:
            return
        if now.st_ino == self.status.st_ino and now.st_size < self.status.st_size:
            raise UserError(f"{self.file} in the image cache was truncated while in use: run again")


def _open(shard: Shard) -> pa.Table:
    try:
        return open_table(shard.file)
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(f"the image cache changed while in use ({error}): run again") from error


def _bytes_of(chunk: pa.LargeBinaryArray) -> tuple[np.ndarray, np.ndarray]:
    """(all bytes, (rows + 1) offsets into them) of one chunk, without copying."""
    _, offsets, pixels = chunk.buffers()
    data = np.empty(0, np.uint8) if pixels is None else np.frombuffer(pixels, np.uint8)
    return data, np.frombuffer(offsets, np.int64)[: len(chunk) + 1]


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


class CachedImages:
    """The readable images of a sequence of records, decoded, resized and memory-mapped.

    images[i]: (height, width, 3) uint8, the i-th readable record; a read-only view of the mapped file, not a
    copy.
    records: the readable records, in their order.
    skipped: (id, reason) of those that could not be decoded.
    Pickles without pixels; another process maps the files again.
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


class CachedMasks:
    """The lesion masks of cached images, memory-mapped.

    masks[i]: (height, width) uint8, 255 where lesion, else 0: the mask of the i-th image, at exactly its height and
    width; a read-only view. Raises KeyError if that image has no mask.
    Pickles without pixels; another process maps the files again.
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
