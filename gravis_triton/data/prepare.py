"""From settings to decoded source images."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from gravis_triton.data.cache import cached_images
from gravis_triton.data.cached_images import CachedImages
from gravis_triton.data.collection import open_collection
from gravis_triton.data.records import Collection
from gravis_triton.data.split import pooled
from gravis_triton.settings import DataSettings


def prepare_images(
    settings: DataSettings, *, seed: int, progress: Callable[[int, int], None]
) -> tuple[Collection, CachedImages]:
    """The collection that the settings name, and its decoded images in the same order.

    With `split_seed` the official training and validation images are one pool. Left out are the official test split,
    what shows a lesion or patient of it, and what cannot be read. `progress` hears (done, total) while images are
    decoded.
    """
    collection = open_collection(settings.data, seed=seed, synthetic_sources=settings.synthetic_sources)
    if settings.split_seed is not None:
        collection = pooled(collection)
    tested = {record.group for record in collection.records if record.split == "test"} - {None}
    images = cached_images(
        [record for record in collection.records if record.split != "test" and record.group not in tested],
        short_side=settings.cache_size,
        directory=Path(settings.cache_dir) if settings.cache_dir else None,
        workers=settings.num_workers,
        progress=progress,
    )
    return dataclasses.replace(collection, records=images.records), images
