"""The packages can be imported and used on Windows and macOS."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = [file for package in ("gravis_triton", "kernels/gravis_kernels") for file in (ROOT / package).rglob("*.py")]
POSIX_MODULES = {"fcntl", "resource", "pwd", "grp", "termios", "tty", "pty"}
POSIX_SIGNALS = {"SIGUSR1", "SIGUSR2", "SIGHUP", "SIGKILL", "SIGALRM", "SIGCHLD"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_file_needs_posix(file: Path) -> None:
    tree = ast.parse(file.read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not names & POSIX_MODULES
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not attributes & POSIX_SIGNALS  # getattr(signal, "SIGKILL", ...) where one is needed
