"""The rows of the decode-once cache, memory-mapped."""

import math
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from gravis_triton.data.shards import Shard, open_table, skipped_in
from gravis_triton.errors import UserError


class MappedRows:
    """The rows of consecutive shards.

    height, width: of each row's picture in pixels; 0 where it could not be decoded.
    skipped: (id, reason) of these.
    """

    def __init__(self, shards: Sequence[Shard]) -> None:
        tables = [_open(shard) for shard in shards]
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
        self.height: list[int] = _joined(heights).tolist()
        self.width: list[int] = _joined(widths).tolist()
        self._buffer = _joined(buffers).tolist()
        self._start = _joined(starts).tolist()
        self.skipped = tuple(entry for table in tables for entry in skipped_in(table))

    def pixels(self, row: int, channels: tuple[int, ...]) -> np.ndarray:
        """(height, width, *channels) uint8: a read-only view of the mapped file, not a copy."""
        shape = (self.height[row], self.width[row], *channels)
        start = self._start[row]
        return self._buffers[self._buffer[row]][start : start + math.prod(shape)].reshape(shape)


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
