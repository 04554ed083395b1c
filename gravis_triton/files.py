"""Files: atomic writes, which leave a complete file or the earlier one; readers that name damaged files; checksums."""

import errno
import hashlib
import io
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from safetensors import SafetensorError

from gravis_triton.errors import UserError

CHECKSUMS = "checksums.json"
"""File of a directory's checksums."""

_WRITING = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM}


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a failure to write (full disk, quota, deleted directory) into a UserError that names `path`."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        gone = isinstance(error, FileNotFoundError | NotADirectoryError) and not path.parent.is_dir()
        if isinstance(error, OSError) and error.errno not in _WRITING and not gone:
            raise
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        if gone:
            reason = f"the directory {path.parent} no longer exists"
        raise UserError(
            f"cannot write {path}: {reason}; {free_space(path.parent)}; earlier files are intact"
        ) from error


def free_space(directory: Path) -> str:
    """The free space on the disk of a directory, which need not exist."""
    existing = next(path for path in (directory, *directory.absolute().parents) if path.exists())
    return f"{shutil.disk_usage(existing).free / 1e6:,.0f} MB free on its disk"


def atomic_write(path: Path, content: str | bytes) -> None:
    """Write a file under a temporary name and rename it when it is complete. Raises UserError as `writing` does."""
    partial = path.with_suffix(".partial")
    with writing(path):
        try:
            partial.write_bytes(content if isinstance(content, bytes) else content.encode())
            os.replace(partial, path)
        except OSError:
            partial.unlink(missing_ok=True)
            raise


def to_bytes(write: Callable[[io.BytesIO], object]) -> bytes:
    """The bytes that a function writes to a file object, e.g. to write them atomically."""
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()


@contextmanager
def atomic_directory(directory: Path) -> Iterator[Path]:
    """A temporary directory to write to, which replaces `directory` when the block ends without an error.

    Its files get the mode that the umask gives to new ones, even if a library wrote them for the owner only.
    Raises UserError as `writing` does.
    """
    partial = directory.with_name(f".partial-{directory.name}")
    with writing(directory):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            yield partial
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        mode = partial.stat().st_mode & 0o666  # that of the directory follows the umask
        for file in filter(Path.is_file, partial.rglob("*")):
            file.chmod(mode)
        shutil.rmtree(directory, ignore_errors=True)
        os.replace(partial, directory)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn any error that shows that a file is damaged into a UserError that names it."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, SyntaxError, EOFError, BadZipFile) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path} is damaged ({reason}): restore or delete it") from error


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises UserError if it cannot be read."""
    with reading(path):
        value = json.loads(path.read_text("utf-8"))
        if not isinstance(value, dict):
            raise ValueError("not a JSON object")
        return value


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Read the complete lines, each an object with a step; an incomplete last one is ignored. [] without a file.

    Raises UserError for a line that cannot be read.
    """
    lines = []
    with reading(path):
        for number, text in enumerate(path.read_text("utf-8").split("\n")[:-1] if path.exists() else [], start=1):
            line = json.loads(text)
            if not isinstance(line, dict) or not isinstance(line.get("step"), int):
                raise ValueError(f"line {number} has no step")
            lines.append(line)
    return lines


def inside(directory: Path, name: str) -> Path:
    """`directory`/`name`. Raises UserError if that is elsewhere, e.g. for a name that begins with / or has ".."."""
    path = directory / name
    if Path(os.path.normpath(path)).is_relative_to(os.path.normpath(directory)):
        return path
    raise UserError(f"{name!r} would be written outside {directory}: rename it")


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON, atomically; NaN and infinities become null."""
    atomic_write(path, json.dumps(finite_or_none(value), indent=2) + "\n")


def finite_or_none(value: Any) -> Any:
    """`value` with every float that JSON cannot represent, at any depth, replaced by None."""
    if isinstance(value, dict):
        return {key: finite_or_none(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite_or_none(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def checksum(file: Path) -> str:
    """BLAKE2 of a file's content."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def checksums(directory: Path) -> dict[str, str]:
    """Checksums of all files, by name."""
    files = (file for file in sorted(directory.iterdir()) if file.is_file() and file.name != CHECKSUMS)
    return {file.name: checksum(file) for file in files}


def write_checksums(directory: Path) -> None:
    """Write the checksums of all current files."""
    (directory / CHECKSUMS).write_text(json.dumps(checksums(directory)))


def find_damage(directory: Path) -> str | None:
    """What is wrong with a directory: the first file that does not match its written checksum. None if all do."""
    try:
        written, actual = read_json(directory / CHECKSUMS), checksums(directory)
    except UserError:
        return f"{CHECKSUMS} is missing or damaged"
    changed = next((name for name, expected in written.items() if actual.get(name) != expected), None)
    return changed and f"{changed} is {'damaged' if changed in actual else 'missing'}"


def verify_checksums(directory: Path) -> None:
    """Raise UserError if a file has changed since its checksum was written; files without checksums are fine."""
    if (directory / CHECKSUMS).exists() and (damage := find_damage(directory)):
        raise UserError(f"{directory}/{damage}: restore it, or delete {CHECKSUMS} to skip the check")
