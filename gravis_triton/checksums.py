"""Checksums stored along with the files of a directory, to detect damage."""

import hashlib
import json
from pathlib import Path

from gravis_triton.errors import UserError

CHECKSUMS = "checksums.json"


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


def read_checksums(directory: Path) -> dict[str, str] | None:
    """The written checksums; None if there are none. Raises ValueError if they cannot be read."""
    try:
        written = json.loads((directory / CHECKSUMS).read_text())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ValueError(str(error)) from error
    if not isinstance(written, dict):
        raise ValueError(f"{CHECKSUMS} holds no checksums")
    return written


def check_whole(directory: Path) -> None:
    """Raise UserError if a file has changed since its checksum was written; files without checksums are fine."""
    try:
        written = read_checksums(directory) or {}
    except ValueError as error:
        raise UserError(
            f"{directory / CHECKSUMS} is damaged: restore it, or delete it to skip the check"
        ) from error
    found = checksums(directory)
    for name, expected in written.items():
        if found.get(name) != expected:
            what = "damaged" if name in found else "missing"
            raise UserError(
                f"{directory / name} is {what}: restore it, or delete {CHECKSUMS} if you changed it yourself"
            )
