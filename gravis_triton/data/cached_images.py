"""Reading the decode-once cache."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from gravis_triton.data.records import Record
from gravis_triton.data.shards import Shard, open_table, skipped_in
from gravis_triton.errors import UserError


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
        tables = [_open(shard) for shard in self._shards]
        self._buffers: list[np.ndarray] = []
        heights, widths, buffers, starts = [], [], [], []
        for table in tables:
            heights += [chunk.to_numpy() for chunk in table["height"].chunks]
            widths += [chunk.to_numpy() for chunk in table["width"].chunks]
            for chunk in table["pixels"].chunks:
                pixels, offsets = _bytes_of(chunk)
                buffers.append(np.full(len(chunk), len(self._buffers)))
                starts.append(offsets[:-1])
                self._buffers.append(pixels)
        readable = _joined(heights) > 0
        self._height = _joined(heights)[readable].tolist()
        self._width = _joined(widths)[readable].tolist()
        self._buffer = _joined(buffers)[readable].tolist()
        self._start = _joined(starts)[readable].tolist()
        self.records = tuple(
            record for record, ok in zip(self._all_records, readable.tolist(), strict=True) if ok
        )
        self.skipped = tuple(entry for table in tables for entry in skipped_in(table))

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> np.ndarray:
        height, width, start = self._height[index], self._width[index], self._start[index]
        stop = start + height * width * 3
        return self._buffers[self._buffer[index]][start:stop].reshape(height, width, 3)

    def __reduce__(self) -> tuple[type, tuple[tuple[Shard, ...], tuple[Record, ...]]]:
        return CachedImages, (self._shards, self._all_records)


def _open(shard: Shard) -> pa.Table:
    try:
        return open_table(shard.file)
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(f"the image cache changed while it was in use ({error}): run again") from error


def _bytes_of(chunk: pa.LargeBinaryArray) -> tuple[np.ndarray, np.ndarray]:
    """(all bytes, (rows + 1) offsets into them) of one chunk, without copying."""
    _, offsets, pixels = chunk.buffers()
    data = np.empty(0, np.uint8) if pixels is None else np.frombuffer(pixels, np.uint8)
    return data, np.frombuffer(offsets, np.int64)[: len(chunk) + 1]


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.empty(0, np.int64)
