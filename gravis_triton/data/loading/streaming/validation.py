"""The labeled images of a streamed split, decoded and held in memory."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from PIL import Image

from gravis_triton.data.datasets.groups import joined_groups
from gravis_triton.data.datasets.hub import known_label
from gravis_triton.data.datasets.records import Collection, Record
from gravis_triton.data.loading.loader import Pixels
from gravis_triton.data.loading.streaming.image_shards import ImageShards, Row

_MOST = 5_000  # images held in memory; at 224 pixels they take about 1 GB


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """An `ImageReference` to pixels in memory."""

    id: str
    pixels: Pixels

    def read(self, short_side: int | None = None) -> Image.Image:
        return Image.fromarray(self.pixels)

    def size(self) -> tuple[int, int]:
        return self.pixels.shape[1], self.pixels.shape[0]

    def fingerprint(self) -> str:
        return self.id


def labeled_images(
    shards: ImageShards, *, short_side: int, progress: Callable[[int, int], None]
) -> tuple[Collection, list[Pixels]]:
    """The readable labeled images, and a collection of them in the same order.

    Both are empty if there are no labels, or more than 5,000 rows. short_side: of the images, in pixels.
    """
    known = [rows for rows in shards.rows if rows is not None]
    if shards.label_column is None or sum(known) > _MOST:
        return Collection(shards.name, ()), []
    rows: list[tuple[Row, Any, Pixels]] = []
    read = chain.from_iterable(shards.read(shard) for shard in range(len(shards.rows)))
    for number, row in enumerate(islice(read, _MOST + 1), 1):
        if number > _MOST:
            return Collection(shards.name, ()), []
        with suppress(OSError, ValueError):  # unreadable images are left out
            label = known_label(row.label)
            if label is not None and label != -1:
                rows.append((row, label, row.pixels(short_side)))
        progress(number, sum(known) or _MOST)
    names = shards.class_names
    values = range(len(names)) if names else sorted({label for _, label, _ in rows})
    index = {value: position for position, value in enumerate(values)}
    columns = {
        name: [row.groups[number] for row, *_ in rows] for number, name in enumerate(shards.group_columns)
    }
    groups = joined_groups(columns) if columns else [None] * len(rows)
    records = tuple(
        Record(row.id, DecodedImage(row.id, pixels), label=index[label], group=group)
        for (row, label, pixels), group in zip(rows, groups, strict=True)
    )
    classes = names or tuple(map(str, values))
    return Collection(shards.name, records, classes, classes), [pixels for *_, pixels in rows]
