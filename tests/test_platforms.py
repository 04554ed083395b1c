"""The packages can be imported on Windows and macOS."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = [
    file for package in ("gravis_triton", "kernels/gravis_kernels") for file in (ROOT / package).rglob("*.py")
]
POSIX_MODULES = {"fcntl", "resource", "pwd", "grp", "termios", "tty", "pty"}
POSIX_SIGNALS = {"SIGUSR1", "SIGUSR2", "SIGHUP", "SIGKILL", "SIGALRM", "SIGCHLD"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_import_needs_posix(file: Path) -> None:
    tree = ast.parse(file.read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not names & POSIX_MODULES
    inside = {
        id(node) for outer in ast.walk(tree) if isinstance(outer, ast.FunctionDef) for node in ast.walk(outer)
    }
    at_import = {
        node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and id(node) not in inside
    }
    assert not at_import & POSIX_SIGNALS
