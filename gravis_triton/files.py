"""Atomic writes: a file or directory appears complete or not at all, and an earlier one stays until then."""

import json
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def atomic_write(path: Path, content: str | bytes) -> None:
    """Write a file under a temporary name and rename it when it is complete."""
    partial = path.with_suffix(".partial")
    if isinstance(content, bytes):
        partial.write_bytes(content)
    else:
        partial.write_text(content)
    os.replace(partial, path)


@contextmanager
def atomic_directory(directory: Path) -> Iterator[Path]:
    """A temporary directory to write to, which replaces `directory` when the block ends without an error.

    Its files get the mode that the umask gives to new ones, also where a library wrote them for the owner alone.
    """
    partial = directory.with_name(f".partial-{directory.name}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    mode = partial.stat().st_mode & 0o666  # that of the directory follows the umask
    for file in partial.rglob("*"):
        if file.is_file():
            file.chmod(mode)
    shutil.rmtree(directory, ignore_errors=True)
    os.replace(partial, directory)


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON, atomically; NaN and infinities become null."""
    atomic_write(path, json.dumps(finite_or_none(value), indent=2) + "\n")


def finite_or_none(value: Any) -> Any:
    """`value` with None in place of every float, at any depth, that JSON cannot hold."""
    if isinstance(value, dict):
        return {key: finite_or_none(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite_or_none(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
