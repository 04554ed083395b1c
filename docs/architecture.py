"""Draw docs/architecture.svg from the import statements: `python docs/architecture.py`."""

import ast
from pathlib import Path

from matplotlib.figure import Figure

ROOT = Path(__file__).parents[1]
LAYERS = (
    ("gravis_kernels", "settings"),
    ("data",),
    ("views", "models"),
    ("methods",),
    ("evaluation",),
    ("training", "comparison"),
    ("report",),
    ("tasks",),
    ("inference",),
    ("workflows",),
    ("cli", "api"),
    ("recipes",),
)
"""Rows of the drawing, from the bottom to the top."""


def parts() -> dict[str, list[Path]]:
    """Package or module -> its files."""
    toolkit = ROOT / "gravis_triton"
    found = {name: sorted((toolkit / name).rglob("*.py")) for names in LAYERS for name in names}
    found |= {name: [toolkit / f"{name}.py"] for name in ("cli", "api")}
    found["gravis_kernels"] = sorted((ROOT / "kernels" / "gravis_kernels").rglob("*.py"))
    found["recipes"] = sorted((ROOT / "recipes").glob("*.py"))
    return found


def imported(files: list[Path]) -> set[str]:
    """The parts that some files import, by a statement or, as the command line does, by name when a job runs."""
    modules = []
    for node in (node for file in files for node in ast.walk(ast.parse(file.read_text()))):
        if isinstance(node, ast.ImportFrom) and node.module:
            modules.append(node.module)
        elif isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.Constant) and str(node.value).startswith("gravis_triton.workflows."):
            modules.append(str(node.value))
    names = {module.split(".")[1] for module in modules if module.startswith("gravis_triton.")}
    return names | {"gravis_kernels" for module in modules if module.split(".")[0] == "gravis_kernels"}


def direct_imports() -> dict[str, set[str]]:
    """What a part imports, without the settings, and without what one of these imports leads to as well."""
    imports = {name: imported(files) - {name, "settings"} for name, files in parts().items()}

    def below(name: str) -> set[str]:
        names = imports.get(name, set())
        return names.union(*map(below, names))

    return {name: names - set().union(*map(below, names)) for name, names in imports.items()}


def draw() -> Figure:
    """A box per part, an arrow per direct import between parts."""
    place = {
        name: ((column + 0.5) / len(names), row)
        for row, names in enumerate(LAYERS)
        for column, name in enumerate(names)
    }
    figure = Figure(figsize=(9, 8), layout="constrained")
    axes = figure.subplots()
    for name, names in direct_imports().items():
        for other in sorted(names & place.keys()):
            axes.annotate(
                "",
                xy=(place[other][0], place[other][1] + 0.22),
                xytext=(place[name][0], place[name][1] - 0.22),
                arrowprops={"arrowstyle": "->", "color": "0.7", "connectionstyle": "arc3,rad=0.08"},
            )
    for name, (x, y) in place.items():
        lines = sum(len(file.read_text().splitlines()) for file in parts()[name])
        axes.text(
            x,
            y,
            f"{name}\n{lines:,} lines",
            ha="center",
            va="center",
            fontsize=10,
            bbox={"boxstyle": "round,pad=0.4", "facecolor": "#e6f0f7", "edgecolor": "#0072b2"},
        )
    axes.set(xlim=(0, 1), ylim=(-0.5, len(LAYERS) - 0.5))
    axes.axis("off")
    return figure


if __name__ == "__main__":
    draw().savefig(ROOT / "docs" / "architecture.svg", metadata={"Date": None})
