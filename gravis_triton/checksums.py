"""Checksums beside the files of a directory, which tell a damaged one from a whole one."""

import hashlib
import json
from pathlib import Path

from gravis_triton.errors import UserError

CHECKSUMS = "checksums.json"


def checksums(directory: Path) -> dict[str, str]:
    """BLAKE2 of every file, by its name."""
    sums = {}
    for file in sorted(directory.iterdir()):
        if file.is_file() and file.name != CHECKSUMS:
            with file.open("rb") as opened:
                digest = hashlib.file_digest(opened, lambda: hashlib.blake2b(digest_size=16))
            sums[file.name] = digest.hexdigest()
    return sums


def write_checksums(directory: Path) -> None:
    """Of all files that are there now."""
    (directory / CHECKSUMS).write_text(json.dumps(checksums(directory)))


def read_checksums(directory: Path) -> dict[str, str] | None:
    """Those that were written; None if none were. Raises ValueError when they cannot be read."""
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
    """Raise UserError where a file is not as it was when its checksum was written; others, and none, are fine."""
    try:
        written = read_checksums(directory) or {}
    except ValueError as error:
        raise UserError(
            f"{directory / CHECKSUMS} is damaged: restore it, or delete it to go without"
        ) from error
    found = checksums(directory)
    for name, checksum in written.items():
        if found.get(name) != checksum:
            what = "damaged" if name in found else "missing"
            raise UserError(
                f"{directory / name} is {what}: restore it, or delete {CHECKSUMS} if you changed it yourself"
            )
