"""The page of a dataset: thumbnails of each split and class."""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from gravis_triton.data import Collection, Record
from gravis_triton.report.html import Page, Picture, Section, write_page

_PER_SECTION = 40


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
    write_page(Page(collection.name, summary.removeprefix(f"{collection.name}\n"), sections), file)
