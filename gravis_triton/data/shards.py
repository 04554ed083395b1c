"""One Arrow file of the decode-once cache: writing it atomically, reading it without copying.

A row is one record: id, height, width, pixels (height * width * 3 bytes of uint8 RGB) and error, which is
empty unless the picture could not be decoded; then height and width are 0.
"""

import errno
import hashlib
import os
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa

from gravis_triton.data.records import ImageReference
from gravis_triton.data.resize import resized_pixels
from gravis_triton.errors import UserError

# Part of every shard's name: raise it whenever the same pictures would be stored in another way.
FORMAT = 1

# Rows per Arrow batch: what a worker holds in memory.
_BATCH = 16


@dataclass(frozen=True, slots=True)
class Shard:
    """A file of the cache and what belongs in it: (id, picture) of consecutive records."""

    file: Path
    short_side: int
    pictures: tuple[tuple[str, ImageReference], ...]


def shard_of(folder: Path, short_side: int, pictures: Sequence[tuple[str, ImageReference]]) -> Shard:
    """The shard of these pictures; its name is a digest of everything that its content depends on."""
    digest = hashlib.sha256(f"format {FORMAT}, short side {short_side}\n".encode())
    for image_id, reference in pictures:
        digest.update(f"{image_id}\0{reference.fingerprint()}\n".encode())
    return Shard(folder / f"{digest.hexdigest()[:32]}.arrow", short_side, tuple(pictures))


def write_shard(shard: Shard) -> None:
    """Decode the pictures of `shard` into its file, which appears whole or not at all.

    Raises UserError when the disk is full or fails.
    """
    temporary = shard.file.with_name(f"{shard.file.stem}.{os.getpid()}.{uuid.uuid4().hex}.tmp")
    try:
        with open_for_writing(temporary) as stream:
            _write_rows(shard, stream)
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
    """The memory-mapped rows of `shard`, or None where its file is absent, cut off or of other rows."""
    try:
        table = open_table(shard.file)
    except (OSError, pa.ArrowInvalid):
        return None
    ids = [image_id for image_id, _ in shard.pictures]
    return table if table.column("id").to_pylist() == ids else None


def open_table(file: Path) -> pa.Table:
    """All rows of an Arrow stream file, memory-mapped."""
    with pa.memory_map(str(file)) as source, pa.ipc.open_stream(source) as stream:
        return stream.read_all()


def skipped_in(table: pa.Table) -> list[tuple[str, str]]:
    """(id, reason) of the pictures that could not be decoded."""
    errors = table.column("error").to_pylist()
    return [(str(table["id"][row]), error) for row, error in enumerate(errors) if error]


def _write_rows(shard: Shard, stream: BinaryIO) -> None:
    schema = _schema()
    with pa.ipc.new_stream(stream, schema) as writer:
        for batch in _batches(shard.pictures):
            columns: dict[str, list[object]] = {name: [] for name in schema.names}
            for image_id, reference in batch:
                pixels, error = _decode(image_id, reference, shard.short_side)
                row = (image_id, pixels.shape[0], pixels.shape[1], pixels.tobytes(), error)
                for name, value in zip(schema.names, row, strict=True):
                    columns[name].append(value)
            writer.write_batch(pa.RecordBatch.from_pydict(columns, schema=schema))


def _schema() -> pa.Schema:
    """As Hugging Face datasets writes it, so that `datasets.Dataset.from_file` opens a shard, too."""
    from datasets import Features, Value

    kinds = {"id": "string", "height": "int32", "width": "int32", "pixels": "large_binary", "error": "string"}
    return Features({name: Value(kind) for name, kind in kinds.items()}).arrow_schema


def _batches(
    pictures: Sequence[tuple[str, ImageReference]],
) -> Iterator[list[tuple[str, ImageReference]]]:
    iterator = iter(pictures)
    while batch := list(islice(iterator, _BATCH)):
        yield batch


def _decode(image_id: str, reference: ImageReference, short_side: int) -> tuple[np.ndarray, str]:
    """(pixels, "") or (no pixels, the reason)."""
    try:
        return resized_pixels(reference.read(short_side), short_side), ""
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.ENOENT, errno.EACCES, errno.EISDIR):
            # The disk failed, not the picture: to keep it as damaged in the cache would be wrong tomorrow.
            raise UserError(
                f"reading the image {image_id} failed ({error}): see to the disk, then run again"
            ) from error
        return np.empty((0, 0, 3), np.uint8), str(error) or type(error).__name__


def _write_error(folder: Path, error: OSError) -> UserError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return UserError(
            f"disk full while writing the image cache in {folder}: free some space, or set GRAVIS_CACHE to a "
            "folder on another disk; what is finished will be used"
        )
    return UserError(f"cannot write the image cache in {folder}: {error}")
