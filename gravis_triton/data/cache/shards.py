"""One Arrow file of the decode-once cache: writing it atomically, reading it without copying.

A row is one item: id, height, width, pixels (height * width * 3 bytes for an image, height * width for a mask)
and error, which is empty unless the item could not be decoded; then height and width are 0. After the end of the
Arrow stream, where readers stop, come four bytes: the CRC-32 of the file before them.
"""

import errno
import hashlib
import os
import uuid
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa

from gravis_triton.data.cache.items import CacheItem
from gravis_triton.errors import UserError

# Part of every shard's name: increment it whenever the same items would be stored differently.
FORMAT = 3

_CHECKSUM_BYTES = 4
_BLOCK = 2**20  # bytes

# Rows per Arrow batch: what a worker holds in memory.
_BATCH = 16


@dataclass(frozen=True, slots=True)
class Shard:
    """A file of the cache and the items of consecutive records that belong in it."""

    file: Path
    items: tuple[CacheItem, ...]


def shard_of(folder: Path, kind: str, items: Sequence[CacheItem]) -> Shard:
    """The shard of these items; its name is a hash of everything that its content depends on.

    kind: whatever else the content depends on.
    """
    name = hashlib.sha256(f"format {FORMAT}, {kind}\n".encode())
    for item in items:
        name.update(f"{item.id}\0{item.fingerprint()}\n".encode())
    return Shard(folder / f"{name.hexdigest()[:32]}.arrow", tuple(items))


def write_shard(shard: Shard) -> None:
    """Decode the items of `shard` into its file, written atomically.

    Raises UserError when the disk is full or fails.
    """
    temporary = shard.file.with_name(f"{shard.file.stem}.{os.getpid()}.{uuid.uuid4().hex}.tmp")
    try:
        with open_for_writing(temporary) as stream:
            _write_rows(shard, stream)
            stream.flush()
            stream.write(_checksum(temporary, stream.tell()))
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, shard.file)
    except OSError as error:
        raise _write_error(shard.file.parent, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def open_for_writing(file: Path) -> BinaryIO:
    return file.open("wb")


def open_shard(shard: Shard) -> pa.Table | None:
    """The memory-mapped rows of `shard`, or None if its file is missing, truncated or has other rows."""
    try:
        table = open_table(shard.file)
    except (OSError, pa.ArrowInvalid):
        return None
    ids = [item.id for item in shard.items]
    return table if table.column("id").to_pylist() == ids else None


def is_whole(shard: Shard) -> bool:
    """Whether an existing shard matches its checksum; reads the whole file."""
    size = shard.file.stat().st_size - _CHECKSUM_BYTES
    with shard.file.open("rb") as stream:
        stream.seek(max(size, 0))
        return size > 0 and stream.read() == _checksum(shard.file, size)


def _checksum(file: Path, size: int) -> bytes:
    """CRC-32 of the first bytes of a file."""
    crc = 0
    with file.open("rb", buffering=0) as stream:
        while size > 0 and (block := stream.read(min(size, _BLOCK))):
            crc = zlib.crc32(block, crc)
            size -= len(block)
    return crc.to_bytes(_CHECKSUM_BYTES, "little")


def open_table(file: Path) -> pa.Table:
    """All rows of an Arrow stream file, memory-mapped."""
    with pa.memory_map(str(file)) as source, pa.ipc.open_stream(source) as stream:
        return stream.read_all()


def skipped_in(table: pa.Table) -> list[tuple[str, str]]:
    """(id, reason) of the items that could not be decoded."""
    errors = table.column("error").to_pylist()
    return [(str(table["id"][row]), error) for row, error in enumerate(errors) if error]


def _write_rows(shard: Shard, stream: BinaryIO) -> None:
    schema = _schema()
    with pa.ipc.new_stream(stream, schema) as writer:
        for batch in _batches(shard.items):
            columns: dict[str, list[object]] = {name: [] for name in schema.names}
            for item in batch:
                pixels, error = _decode(item)
                row = (item.id, pixels.shape[0], pixels.shape[1], pixels.tobytes(), error)
                for name, value in zip(schema.names, row, strict=True):
                    columns[name].append(value)
            writer.write_batch(pa.RecordBatch.from_pydict(columns, schema=schema))


def _schema() -> pa.Schema:
    """The schema of Hugging Face datasets, so that `datasets.Dataset.from_file` can open a shard."""
    from datasets import Features, Value

    kinds = {"id": "string", "height": "int32", "width": "int32", "pixels": "large_binary", "error": "string"}
    return Features({name: Value(kind) for name, kind in kinds.items()}).arrow_schema


def _batches(items: Sequence[CacheItem]) -> Iterator[list[CacheItem]]:
    iterator = iter(items)
    while batch := list(islice(iterator, _BATCH)):
        yield batch


def _decode(item: CacheItem) -> tuple[np.ndarray, str]:
    """(pixels, "") or (no pixels, the reason)."""
    try:
        return item.pixels(), ""
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.ENOENT, errno.EISDIR):
            # A disk or permission error may be temporary: do not cache the item as damaged.
            raise UserError(f"reading {item} failed ({error}): fix this, then run again") from error
        return np.empty((0, 0), np.uint8), str(error) or type(error).__name__


def _write_error(folder: Path, error: OSError) -> UserError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return UserError(
            f"disk full while writing the image cache in {folder}: free some space, or set GRAVIS_CACHE to a "
            "folder on another disk; finished files are reused"
        )
    return UserError(f"cannot write the image cache in {folder}: {error}")
