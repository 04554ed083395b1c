"""The store of decoded images: Arrow files of many images each, in which an image is found by its own key.

A row is an image or a mask: key, height, width, pixels (height * width * 3 bytes for an image, height * width for a
mask) and error, which is empty unless it could not be decoded; then height and width are 0. A file's name ends with the
CRC-32 of its content; `intact.txt` lists name, size and modification time of each file whose content is known to match.
KEYS.files lists the files of a collection, and its modification time is that of the last use.
"""

import errno
import hashlib
import math
import os
import signal
import time
import uuid
import warnings
import zlib
from collections.abc import Callable, Generator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from filelock import FileLock, Timeout
from joblib import Parallel, delayed
from numpy.typing import NDArray

from gravis_triton.errors import UserError
from gravis_triton.process import signal_on_parents_death

Pixels = NDArray[np.uint8]
Progress = Callable[[int, int], None]
"""Called with (done, total)."""

_FEWEST, _MOST = 32, 256  # rows of a file, which one worker writes
_BATCH = 16  # rows that it holds in memory
_IDLE = 10  # seconds until an idle worker ends
_DAY = 86_400  # seconds
_SCHEMA = pa.schema(
    {"key": pa.binary(), "height": pa.int32(), "width": pa.int32(), "pixels": pa.large_binary(), "error": pa.string()}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Item:
    """An image or a mask to store. key: as of `key_of`. name: for messages.

    pixels: a function that decodes it to (height, width, 3) or (height, width), and raises OSError or ValueError if it
    cannot.
    """

    key: bytes
    name: str
    pixels: Callable[[], Pixels]


def key_of(*parts: object) -> bytes:
    """The key of an item: a hash of everything that its pixels depend on."""
    return hashlib.blake2b("\0".join(map(str, parts)).encode(), digest_size=16).digest()


class _MappedFile:
    """A memory-mapped file; pickles as its path."""

    def __init__(self, path: Path) -> None:
        self.path, self.inode = path, path.stat().st_ino
        self.content = np.frombuffer(_mapped(path), np.uint8)

    def check(self) -> None:
        """Raise UserError if the file was truncated: reading beyond its end would kill the process.

        A deleted or replaced file stays mapped as it was."""
        with suppress(OSError):
            now = os.stat(self.path)
            if now.st_ino == self.inode and now.st_size < len(self.content):
                raise UserError(f"{self.path} in the image cache was truncated while in use: run again")

    def __reduce__(self) -> tuple[type, tuple[Path]]:
        return _MappedFile, (self.path,)


@dataclass(frozen=True, slots=True)
class StoredPixels:
    """Images or masks by index; pickles without pixels: another process maps the files again.

    stored[i]: (height, width, *channels) uint8, a read-only view of the memory-mapped file, not a copy. Raises KeyError
        for an image without a mask, UserError if the file was truncated.
    places: (items, 4): number of the file (-1: none), position of the first byte, height, width.
    """

    files: tuple[_MappedFile, ...]
    places: NDArray[np.int64]
    channels: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Pixels:
        number, start, height, width = self.places[index].tolist()
        if number < 0:
            raise KeyError(f"image {index} has no mask")
        file, shape = self.files[number], (height, width, *self.channels)
        file.check()
        return file.content[start : start + math.prod(shape)].reshape(shape)


def open_stored(
    folder: Path,
    items: Sequence[Item | None],
    channels: tuple[int, ...],
    *,
    workers: int,
    progress: Progress,
    check: Callable[[dict[int, str]], None],
) -> tuple[StoredPixels, dict[int, str]]:
    """The pixels of `items`, and index -> reason of those that cannot be decoded.

    Items that are in no file of `folder` yet are decoded by `workers` processes (0: in this one) and added. One process
    at a time does this; others wait, and go on with what it has added. A damaged file is deleted and its items decoded
    again.
    progress: called with (items done, all items) at the start and after each file. check: called with the reasons so
    far; may raise. Raises UserError if the disk is full or fails.
    """
    rows = _Rows(items)

    def add(files: Sequence[Path]) -> None:
        rows.add(files)
        check(rows.errors)
        progress(len(rows.keys) - len(rows.missing()), len(rows.keys))

    add(_intact_files(folder))
    while len(rows.missing()):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder / ".lock").acquire(timeout=1):
                _remove_unfinished(folder)
                _remove_damaged(folder)
                add(_intact_files(folder))
                absent = [item for index in rows.missing() if (item := items[index]) is not None]
                with closing(_write(folder, absent, workers)) as files:
                    for file in files:
                        add([file])
        except Timeout:
            add(_intact_files(folder))
        except OSError as error:
            raise UserError(
                f"cannot use {folder} for the image cache ({error}): free some space, or set GRAVIS_CACHE to a folder "
                "on another disk; finished files are reused"
            ) from error
    stored = StoredPixels(tuple(map(_MappedFile, rows.files)), rows.places, channels)
    with suppress(OSError):  # a folder of another user
        folder.joinpath(f"{key_of(*rows.keys).hex()}.files").write_text(
            "".join(f"{file.path.name}\n" for file in stored.files)
        )
    return stored, rows.errors


def prune(folder: Path, days: float) -> int:
    """Delete the files that hold no image of a collection opened in the last `days` days, and what is derived from it;
    returns their bytes. A process that has opened one can go on.

    Raises UserError if a process is adding files, or a file cannot be deleted.
    """
    freed, used = 0, set()
    try:
        with FileLock(folder / ".lock").acquire(timeout=1):
            for names in folder.glob("*.files"):
                if time.time() - names.stat().st_mtime < days * _DAY:
                    used |= {
                        *names.read_text(errors="replace").split(),
                        *(f.name for f in folder.glob(f"{names.stem}*")),
                    }
            for file in folder.iterdir():
                if file.suffix in (".arrow", ".npy", ".files") and file.name not in used:
                    freed += file.stat().st_size
                    file.unlink()
    except Timeout as error:
        raise UserError(f"a job is filling {folder}: run again when it has ended") from error
    except OSError as error:
        raise UserError(f"cannot delete files in {folder}: {error.strerror}") from error
    return freed


class _Rows:
    """Where items are in the files seen so far.

    keys: key -> index of its item. files: number of each file that holds one. places: as in `StoredPixels`.
    errors: index -> why it cannot be decoded.
    """

    def __init__(self, items: Sequence[Item | None]) -> None:
        self.keys = {item.key: index for index, item in enumerate(items) if item is not None}
        self.indices = np.fromiter(self.keys.values(), np.int64, len(self.keys))
        self.seen: set[Path] = set()
        self.files: dict[Path, int] = {}
        self.places = np.full((len(items), 4), -1)
        self.errors: dict[int, str] = {}

    def missing(self) -> NDArray[np.int64]:
        """Indices of the items that are in no file."""
        return self.indices[self.places[self.indices, 0] < 0]

    def add(self, files: Sequence[Path]) -> None:
        for file in files:
            if file in self.seen:
                continue
            try:
                content = _mapped(file)
            except OSError:  # deleted meanwhile
                continue
            self.seen.add(file)
            for batch in pa.ipc.open_stream(pa.BufferReader(content)):
                items = np.array([self.keys.get(key, -1) for key in batch["key"].to_pylist()], np.int64)
                if items.max(initial=-1) < 0:
                    continue
                number = self.files.setdefault(file, len(self.files))
                _, offsets, pixels = batch["pixels"].buffers()
                start = np.frombuffer(offsets, np.int64)[: len(items)] + (pixels.address - content.address)
                size = [batch["height"].to_numpy(), batch["width"].to_numpy()]
                places = np.stack([np.full_like(start, number), start, *size], 1)
                self.places[items[items >= 0]] = places[items >= 0]
                for row in np.flatnonzero((items >= 0) & (size[0] == 0)):
                    self.errors[int(items[row])] = batch["error"][row].as_py()


def _mapped(file: Path) -> pa.Buffer:
    with pa.memory_map(str(file)) as source:  # unlike Python's, it keeps no file open
        return source.read_buffer()


def _intact_files(folder: Path) -> list[Path]:
    """The files that have not changed since their content was known to match their checksum."""
    marks = folder / "intact.txt"
    lines = marks.read_text(errors="replace").splitlines() if marks.exists() else []  # a damaged line is of no file
    states = dict(line.split(" ", 1) for line in lines if " " in line)  # the last one of a file counts
    files = {file.name: file for file in folder.glob("*.arrow")}
    return [files[name] for name, state in states.items() if name in files and _state(files[name]) == state]


def _mark_intact(file: Path) -> None:
    with file.with_name("intact.txt").open("a") as stream:
        stream.write(f"{file.name} {_state(file)}\n")


def _state(file: Path) -> str:
    try:
        status = file.stat()
    except OSError:
        return "missing"
    return f"{status.st_size} {status.st_mtime_ns}"


def _remove_damaged(folder: Path) -> None:
    """Delete the changed files whose content does not match their checksum."""
    for file in {*folder.glob("*.arrow")} - {*_intact_files(folder)}:
        if file.stem.endswith(_checksum(file)):
            _mark_intact(file)
        else:
            file.unlink(missing_ok=True)


def _remove_unfinished(folder: Path) -> None:
    for file in folder.glob("*.tmp"):
        file.unlink(missing_ok=True)


def _checksum(file: Path) -> str:
    return f"{zlib.crc32(_mapped(file)) if file.stat().st_size else 0:08x}"


def _write(folder: Path, items: Sequence[Item], workers: int) -> Generator[Path, None, None]:
    """Decode items into new files on `workers` processes; yields each file when it is finished.

    loky's processes neither fork this one, with its threads, nor import its main module.
    """
    size = min(max(_FEWEST, len(items) // 256), _MOST)
    chunks = [items[start : start + size] for start in range(0, len(items), size)]
    pool = Parallel(
        max(1, min(workers, len(chunks))),
        batch_size=1,
        return_as="generator_unordered",
        idle_worker_timeout=_IDLE,
        initializer=_start_worker,
    )
    files = pool(delayed(write_file)(folder, chunk) for chunk in chunks)
    try:
        for file in files:
            _mark_intact(file)
            yield file
    except BrokenProcessPool as error:
        raise UserError("a worker process was killed, perhaps out of memory: use fewer workers") from error
    finally:
        with warnings.catch_warnings(action="ignore"):  # of results that nobody waits for
            files.close()
        _remove_unfinished(folder)


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the main process's to handle
    signal_on_parents_death(getattr(signal, "SIGKILL", signal.SIGTERM))


def write_file(folder: Path, items: Sequence[Item]) -> Path:
    """Decode items into a new file, written atomically."""
    temporary = folder / f"{uuid.uuid4().hex}.tmp"
    with temporary.open("wb") as stream:
        with pa.ipc.new_stream(stream, _SCHEMA) as writer:
            for start in range(0, len(items), _BATCH):
                rows = map(_decode, items[start : start + _BATCH])
                columns = dict(zip(_SCHEMA.names, zip(*rows, strict=True), strict=True))
                writer.write_batch(pa.record_batch(columns, schema=_SCHEMA))
        stream.flush()
        os.fsync(stream.fileno())
    return temporary.rename(folder / f"{temporary.stem}-{_checksum(temporary)}.arrow")


def _decode(item: Item) -> tuple[bytes, int, int, bytes, str]:
    """A row: (key, height, width, pixels, ""), or (key, 0, 0, no pixels, the reason)."""
    try:
        pixels = item.pixels()
        return item.key, pixels.shape[0], pixels.shape[1], pixels.tobytes(), ""
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.ENOENT, errno.EISDIR):
            # A disk or permission error may be temporary: do not store the item as damaged.
            raise UserError(f"reading {item.name} failed ({error}): fix this, then run again") from error
        return item.key, 0, 0, b"", str(error) or type(error).__name__
