"""Self-contained HTML pages, without network or scripts: tables, figures and thumbnails; and the page of a dataset."""

import base64
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from matplotlib import rc_context
from matplotlib.figure import Figure
from PIL import Image

from gravis_triton.data import Collection, Record
from gravis_triton.files import atomic_write, reading, to_bytes
from gravis_triton.report.figures import Pixels, styled

_WIDEST = 1600  # maximum width in pixels
_PER_SECTION = 40  # images of a split and class


@dataclass(frozen=True, slots=True)
class Table:
    """The first column names the rows; caption: what it shows."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """The table without its caption; all columns but the first are aligned to the right."""
        rule = ["---", *["---:"] * (len(self.header) - 1)]
        return "".join(f"| {' | '.join(row)} |\n" for row in (self.header, rule, *self.rows))


@dataclass(frozen=True, slots=True)
class Picture:
    """source: a data URI. alt: alternative text."""

    source: str
    alt: str
    caption: str = ""

    @classmethod
    @styled
    def from_figure(cls, figure: Figure, alt: str, caption: str = "") -> "Picture":
        """A figure as SVG, the same bytes every time."""
        with rc_context({"svg.hashsalt": alt}):
            svg = to_bytes(lambda opened: figure.savefig(opened, format="svg", metadata={"Date": None}))
        return cls(_data_uri("svg+xml", svg), alt, caption)

    @classmethod
    def from_pixels(cls, pixels: Pixels, alt: str, caption: str = "") -> "Picture":
        """An image, (height, width, 3), as WebP."""
        image = Image.fromarray(pixels)
        image.thumbnail((_WIDEST, 8 * _WIDEST))
        webp = to_bytes(lambda opened: image.save(opened, "WEBP", quality=85))
        return cls(_data_uri("webp", webp), alt, caption)

    @classmethod
    def from_file(cls, file: Path, alt: str, caption: str = "") -> "Picture":
        """An image in the run directory. Raises UserError if it is damaged."""
        with reading(file), Image.open(file) as image:
            return cls.from_pixels(np.asarray(image.convert("RGB")), alt, caption)


@dataclass(frozen=True, slots=True)
class Section:
    """A heading, and what is below it, in this order.

    thumbnails: rows of small pictures, each with a mark: right, wrong or "". dots: of a map, (left, top, color,
    picture), in percent from the left and the top; the picture shows on hover. legend: (name, color).
    """

    title: str
    text: str = ""
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    thumbnails: Sequence[Sequence[tuple[Picture, str]]] = ()
    dots: Sequence[tuple[float, float, str, Picture]] = ()
    legend: Sequence[tuple[str, str]] = ()


def write_page(
    file: Path, title: str, lead: str, sections: Sequence[Section], *, links: Sequence[tuple[str, str]] = ()
) -> None:
    """Write a self-contained page, atomically.

    title: of the document and its first heading. lead: the result in one sentence. links: (text, URL) of its runs, at
    the end.
    """
    atomic_write(file, render("page.html.j2", title=title, lead=lead, sections=sections, links=links))


def render(template: str, **values: Any) -> str:
    """A template of this package with these values, which are escaped in HTML."""
    loader, escaped = PackageLoader("gravis_triton.report", "."), select_autoescape(["html.j2"])
    templates = Environment(loader=loader, autoescape=escaped, undefined=StrictUndefined)
    return templates.get_template(template).render(**values)


def write_dataset_page(
    file: Path, collection: Collection, thumbnails: Iterable[tuple[Record, Image.Image]], summary: str
) -> None:
    """Write a self-contained HTML page: the summary, and up to 40 images, evenly spaced, of each split and class."""
    groups: dict[str, list[tuple[Record, Image.Image]]] = defaultdict(list)
    for record, image in thumbnails:
        label = "unlabeled" if record.label is None else collection.class_names(record) or "no class"
        groups[f"{record.split or 'all'}: {label}"].append((record, image))
    sections = []
    for title, members in sorted(groups.items()):
        chosen = members[:: -(-len(members) // _PER_SECTION)]
        row = [(Picture.from_pixels(np.asarray(image), record.id), "") for record, image in chosen]
        sections.append(Section(f"{title} ({len(row)} of {len(members):,})", thumbnails=[row]))
    write_page(file, collection.name, summary.removeprefix(f"{collection.name}\n"), sections)


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
