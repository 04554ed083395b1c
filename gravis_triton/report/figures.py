"""Write figures without pyplot's global state."""

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from gravis_triton.files import atomic_write

Case = TypeVar("Case")

PANEL = 2.0  # height of an image panel in inches
LONGEST = 512  # pixels that such a panel can show per side

# Distinguishable with any color vision (Okabe and Ito, 2008).
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#f0e442", "#000000", "#999999")


def new_figure(width: float, height: float) -> Figure:
    """An empty figure (size in inches) with constrained layout."""
    return Figure(figsize=(width, height), layout="constrained")


def write_figure(figure: Figure, file: Path, *, caption: str = "") -> None:
    """Write a figure as a PNG file, atomically. caption: a line at the bottom that describes it."""
    if caption:
        figure.supxlabel(caption, x=0.01, ha="left", fontsize=8, color="0.4")
    png = io.BytesIO()
    keep_dollars(figure)
    figure.savefig(png, format="png", dpi=150)
    atomic_write(file, png.getvalue())


def keep_dollars(figure: Figure) -> None:
    """Render dollar signs in the names of images, classes and runs as text, not as math."""
    for text in figure.findobj(Text):
        if "$" in text.get_text():
            text.set_parse_math(False)


def draw_cases(
    cases: Mapping[str, Sequence[Case]], draw: Callable[[Axes, Case], None], *, width: float, height: float
) -> Figure:
    """A figure (size in inches) with one row of images per kind of case; rows may differ in length."""
    columns = max(len(row) for row in cases.values())
    figure = new_figure(width, height)
    panels = figure.subplots(len(cases), columns, squeeze=False)
    for (kind, row), axes_row in zip(cases.items(), panels, strict=True):
        axes_row[0].set_ylabel(kind, fontsize=11)
        for axes in axes_row:
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(False)
        for axes, case in zip(axes_row, row, strict=False):
            draw(axes, case)
    return figure


def caption_of(architecture: str, encoder: str, method: str, data: str) -> str:
    """Model, weights, method and data in one line. encoder: value of --encoder; only the last part of a path."""
    path = Path(encoder)
    weights = (path.parent if path.name == "encoder" else path).name
    model = architecture if weights == architecture else f"{architecture} ({weights})"
    return f"{model}, {method}, {data}"


def plain_axes(axes: Axes) -> None:
    """Remove the box around the axes."""
    axes.spines[["top", "right"]].set_visible(False)


def shown_name(name: str) -> str:
    """Display name of a class."""
    return name.replace("_", " ")
