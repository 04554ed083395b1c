"""The style of all figures, and writing them without pyplot's global state."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import matplotlib
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image, ImageOps

from gravis_triton.files import atomic_write, to_bytes

Case = TypeVar("Case")
Pixels = NDArray[np.uint8]

# Distinguishable with any color vision (Okabe and Ito, 2008).
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#f0e442", "#000000", "#999999")

PANEL = 2.0  # height of an image panel in inches
LONGEST = 512  # pixels that such a panel can show per side

styled = matplotlib.rc_context(
    {
        "axes.axisbelow": True,
        "axes.prop_cycle": cycler(color=COLORS),
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlesize": 10,
        "errorbar.capsize": 2,
        "figure.constrained_layout.use": True,
        "font.size": 9,
        "grid.color": "0.9",
        "image.cmap": "viridis",
        "legend.fontsize": 8,
        "legend.frameon": False,
        "lines.markersize": 4,
        "savefig.dpi": 150,
        "svg.fonttype": "none",
        "text.parse_math": False,  # names of images, classes and runs may have dollar signs
    }
)
"""The style of all figures, as a decorator of functions that draw or write them."""


@styled
def write_figure(figure: Figure, file: Path, *, caption: str = "") -> None:
    """Write a figure as a PNG file, atomically. caption: a line at the bottom that describes it."""
    if caption:
        figure.supxlabel(caption, x=0.01, ha="left", fontsize=8, color="0.4")
    atomic_write(file, to_bytes(lambda opened: figure.savefig(opened, format="png")))


@styled
def draw_cases(
    cases: Mapping[str, Sequence[Case]], draw: Callable[[Axes, Case], None], *, aspect: float, label_lines: int
) -> Figure:
    """A figure with one row of images per kind of case; rows may differ in length.

    aspect: width / height of the widest image. label_lines: lines of text below an image.
    """
    columns = max(len(row) for row in cases.values())
    height = PANEL + 0.1 + 0.2 * label_lines
    figure = Figure(figsize=((PANEL * aspect + 0.1) * columns + 0.4, height * len(cases) + 0.4))
    panels = figure.subplots(len(cases), columns, squeeze=False)
    for (kind, row), axes_row in zip(cases.items(), panels, strict=True):
        axes_row[0].set_ylabel(kind, fontsize="large")
        for axes in axes_row:
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        for axes, case in zip(axes_row, row, strict=False):
            draw(axes, case)
    return figure


def thinned(pixels: NDArray[np.generic]) -> NDArray[np.generic]:
    """Every n-th pixel of an image or mask, as many as a panel can show."""
    step = max(1, max(pixels.shape[:2]) // LONGEST)
    return pixels[::step, ::step]


def write_views(file: Path, images: Sequence[Pixels], views: NDArray[np.uint8], *, size: int = 128) -> None:
    """Write a grid with one row per image: the image, undistorted, then its views, enlarged pixel by pixel to `size`.

    images: (height, width, 3) each. views: (images, views, side, side, 3), all uint8.
    """
    side = views.shape[2] * math.ceil(size / views.shape[2])
    grid = Image.new("RGB", ((views.shape[1] + 1) * (side + 2) + 2, len(images) * (side + 2) + 2), "white")
    for row, (image, own) in enumerate(zip(images, views, strict=True)):
        enlarged = [Image.fromarray(view).resize((side, side), Image.Resampling.NEAREST) for view in own]
        for column, tile in enumerate([ImageOps.contain(Image.fromarray(image), (side, side)), *enlarged]):
            left, top = ((side + 2) * place + 2 for place in (column, row))
            grid.paste(tile, (left + (side - tile.width) // 2, top + (side - tile.height) // 2))
    atomic_write(file, to_bytes(lambda opened: grid.save(opened, "PNG")))


def caption_of(architecture: str, encoder: str, method: str, data: str) -> str:
    """Model, weights, method and data in one line. encoder: value of --encoder; only the last part of a path."""
    path = Path(encoder)
    weights = (path.parent if path.name == "encoder" else path).name
    model = architecture if weights == architecture else f"{architecture} ({weights})"
    return f"{model}, {method}, {data}"


def class_label(name: str) -> str:
    """Display name of a class."""
    return name.replace("_", " ")
