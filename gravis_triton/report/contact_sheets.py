"""A page of thumbnails of a dataset, one sheet per split and class."""

import base64
import html
import io
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from gravis_triton.data import Collection, Record
from gravis_triton.files import atomic_write

_PER_SHEET = 40
_STYLE = """:root { color-scheme: light dark }
body { font-family: sans-serif; margin: 1rem } pre { white-space: pre-wrap }
div { display: flex; flex-wrap: wrap; gap: 4px } img { width: 96px; height: 96px; object-fit: contain }"""


def write_contact_sheets(
    file: Path, collection: Collection, shown: Sequence[tuple[Record, Image.Image]], summary: str
) -> None:
    """Write a self-contained HTML page: the summary, and up to 40 images, evenly spaced, of each split and class."""
    sheets: dict[str, list[tuple[Record, Image.Image]]] = defaultdict(list)
    for record, image in shown:
        label = "unlabeled" if record.label is None else collection.classes[record.label]
        sheets[f"{record.split or 'all'}: {label}"].append((record, image))
    body = [f"<h1>{html.escape(collection.name)}</h1><pre>{html.escape(summary)}</pre>"]
    for title, members in sorted(sheets.items()):
        chosen = members[:: -(-len(members) // _PER_SHEET)]
        images = "".join(_image(record, image) for record, image in chosen)
        body.append(f"<h2>{html.escape(title)} ({len(chosen)} of {len(members):,})</h2><div>{images}</div>")
    head = (
        f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>'
        f"{html.escape(collection.name)}</title><style>{_STYLE}</style>"
    )
    atomic_write(
        file, f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(body)}</body></html>\n'
    )


def _image(record: Record, image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    name = html.escape(record.id)
    source = f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return f'<img src="{source}" alt="{name}" title="{name}">'
