"""The architecture: imports point down only, and no package knows those above it."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = (
    ("errors",),
    ("files", "process", "run_directory"),
    ("settings",),
    ("data", "run_summary"),
    ("views", "models"),
    ("methods",),
    ("evaluation",),
    ("training", "comparison"),
    ("report",),
    ("tasks",),
    ("inference",),
    ("workflows",),
    ("cli",),
    ("api", "__main__"),
)
"""Packages and modules of gravis_triton from the bottom to the top; each may import itself and lower layers."""
ROOMS = ("synthetic", "datasets", "cache", "splits", "loading")
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def imports(file: Path) -> Iterator[str]:
    """The modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def part(module: str, depth: int) -> str | None:
    """The `depth`-th name of a module of gravis_triton."""
    names = module.split(".")
    return names[depth] if names[0] == "gravis_triton" and len(names) > depth else None


@pytest.mark.parametrize("file", files("gravis_triton"), ids=lambda file: str(file.relative_to(ROOT)))
def test_imports_point_down(file: Path) -> None:
    own = file.relative_to(ROOT / "gravis_triton").with_suffix("").parts[0]
    if own == "__init__":
        return  # names the jobs; imports them when they are called
    for module in imports(file):
        other = part(module, 1)
        if other is not None and other != own:
            assert LEVEL[other] < LEVEL[own], f"{own} imports {module}"
        assert not module.startswith("recipes")


@pytest.mark.parametrize("file", files("gravis_triton/data"), ids=lambda file: str(file.relative_to(ROOT)))
def test_an_image_goes_through_the_rooms_of_data_in_one_direction(file: Path) -> None:
    room = file.relative_to(ROOT / "gravis_triton" / "data").parts[0]
    if room not in ROOMS:
        return
    for module in imports(file):
        other = part(module, 2) if part(module, 1) == "data" else None
        if other in ROOMS:
            assert ROOMS.index(other) <= ROOMS.index(room), f"{room} imports {module}"


def test_the_kernels_need_torch_and_triton_alone() -> None:
    allowed = {"torch", "triton", "gravis_kernels", *sys.stdlib_module_names}
    for file in files("kernels/gravis_kernels"):
        assert {module.split(".")[0] for module in imports(file)} <= allowed, file


@pytest.mark.parametrize("job", ["pretrain", "finetune_classification", "finetune_segmentation", "compare"])
def test_the_recipe_of_a_job_launches_it_and_nothing_else(job: str) -> None:
    file = ROOT / "recipes" / f"{job}.py"
    assert set(imports(file)) == {"gravis_triton.cli"}
    assert len(file.read_text().splitlines()) < 10


@pytest.mark.parametrize("package", ["gravis_triton", "kernels/gravis_kernels"])
def test_no_package_exports_a_private_name(package: str) -> None:
    for file in (ROOT / package).rglob("__init__.py"):
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.ImportFrom):
                assert node.module is None or not any(alias.name.startswith("_") for alias in node.names), file
