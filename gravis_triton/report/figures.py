"""Figures as files, without pyplot's global state."""

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from gravis_triton.files import atomic_write

Case = TypeVar("Case")

PANEL = 2.0  # inches of height of an image among others
LONGEST = 512  # pixels of a side that such a panel can show

# Distinguishable with any color vision (Okabe and Ito, 2008).
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#f0e442", "#000000", "#999999")


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of some inches; what is put on it finds its place by itself."""
    return Figure(figsize=(width, height), layout="constrained")


def write_figure(figure: Figure, file: Path, *, caption: str = "") -> None:
    """Write a figure as a PNG file, whole or not at all; caption: a line at its foot that says what it is of."""
    if caption:
        figure.supxlabel(caption, x=0.01, ha="left", fontsize=8, color="0.4")
    png = io.BytesIO()
    keep_dollars(figure)
    figure.savefig(png, format="png", dpi=150)
    atomic_write(file, png.getvalue())


def keep_dollars(figure: Figure) -> None:
    """Dollar signs in the names of images, classes and runs begin no formula."""
    for text in figure.findobj(Text):
        if "$" in text.get_text():
            text.set_parse_math(False)


def draw_cases(
    cases: Mapping[str, Sequence[Case]], draw: Callable[[Axes, Case], None], *, width: float, height: float
) -> Figure:
    """A figure of some inches with one row of images per kind of case; a row may have fewer cases than others."""
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
    """Model, weights, method and data in one line. encoder: as --encoder names it; of a path its last part."""
    path = Path(encoder)
    weights = (path.parent if path.name == "encoder" else path).name
    model = architecture if weights == architecture else f"{architecture} ({weights})"
    return f"{model}, {method}, {data}"


def plain_axes(axes: Axes) -> None:
    """Axes without a box around them."""
    axes.spines[["top", "right"]].set_visible(False)


def shown_name(name: str) -> str:
    """The name of a class as people write it."""
    return name.replace("_", " ")
