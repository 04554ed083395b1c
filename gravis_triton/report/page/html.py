"""Pages with sections, tables and images, and their template."""

import base64
import io
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure
from PIL import Image

from gravis_triton.files import atomic_write, reading
from gravis_triton.report.figures import keep_dollars

_WIDEST = 1600  # maximum width in pixels
_LINES = "#808080"  # text and axes of figures, readable on light and dark


@dataclass(frozen=True, slots=True)
class Table:
    """The first column names the rows; caption: what it shows."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Picture:
    """source: a data URI. alt: alternative text."""

    source: str
    alt: str
    caption: str = ""

    @classmethod
    def of_figure(cls, figure: Figure, alt: str, caption: str = "") -> "Picture":
        """A figure as SVG, with a transparent background."""
        svg = io.BytesIO()
        keep_dollars(figure)
        with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": alt}):
            figure.savefig(svg, format="svg", transparent=True, metadata={"Date": None})
        return cls(_data_uri("svg+xml", svg.getvalue()), alt, caption)

    @classmethod
    def of_pixels(cls, pixels: np.ndarray, alt: str, caption: str = "") -> "Picture":
        """An image, (height, width, 3) uint8, as WebP."""
        image = Image.fromarray(pixels)
        image.thumbnail((_WIDEST, 8 * _WIDEST))
        webp = io.BytesIO()
        image.save(webp, "WEBP", quality=85)
        return cls(_data_uri("webp", webp.getvalue()), alt, caption)

    @classmethod
    def of_file(cls, file: Path, alt: str, caption: str = "") -> "Picture":
        """An image in the run directory. Raises UserError if it is damaged."""
        with reading(file), Image.open(file) as image:
            return cls.of_pixels(np.asarray(image.convert("RGB")), alt, caption)


@dataclass(frozen=True, slots=True)
class Dot:
    """A point of a map, in percent from the left and the top; its thumbnail shows on hover."""

    left: float
    top: float
    color: str
    picture: Picture


@dataclass(frozen=True, slots=True)
class Section:
    """A heading with text, tables, images (each with its caption below) and a map."""

    title: str
    text: str = ""
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    thumbnails: Sequence[Sequence[tuple[Picture, str]]] = ()
    """Rows of thumbnails, each with a mark: "", "right" or "wrong"."""
    dots: Sequence[Dot] = ()
    legend: Sequence[tuple[str, str]] = ()
    """(class, color) of the map."""


@dataclass(frozen=True, slots=True)
class Page:
    """title: of the document and its first heading. lead: the result in one sentence. links: (text, URL) of its runs,
    at the end."""

    title: str
    lead: str
    sections: Sequence[Section]
    links: Sequence[tuple[str, str]] = ()


def new_page_figure(width: float, height: float) -> Figure:
    """An empty figure (size in inches) with constrained layout, for use in `styled`."""
    return Figure(figsize=(width, height), layout="constrained")


def styled() -> AbstractContextManager[None]:
    """A context in which figures get the page's colors, readable on light and dark."""
    return matplotlib.rc_context(
        {
            "text.color": _LINES,
            "axes.labelcolor": _LINES,
            "axes.edgecolor": _LINES,
            "xtick.color": _LINES,
            "ytick.color": _LINES,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "legend.frameon": False,
            "legend.labelcolor": _LINES,
            "font.size": 9,
        }
    )


def write_page(page: Page, file: Path) -> None:
    """Write a self-contained page, atomically."""
    environment = Environment(
        loader=PackageLoader("gravis_triton.report.page", "."), autoescape=True, undefined=StrictUndefined
    )
    atomic_write(file, environment.get_template("page.html.j2").render(page=page))


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
