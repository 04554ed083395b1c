"""Figures as files, without pyplot's global state."""

import io
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gravis_triton.files import atomic_write

# Distinguishable with any color vision (Okabe and Ito, 2008).
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#f0e442", "#000000", "#999999")


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of some inches; what is put on it finds its place by itself."""
    return Figure(figsize=(width, height), layout="constrained")


def write_figure(figure: Figure, file: Path) -> None:
    """Write a figure as a PNG file, whole or not at all."""
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=150)
    atomic_write(file, png.getvalue())


def plain_axes(axes: Axes) -> None:
    """Axes without a box around them."""
    axes.spines[["top", "right"]].set_visible(False)


def shown_name(name: str) -> str:
    """The name of a class as people write it."""
    return name.replace("_", " ")
