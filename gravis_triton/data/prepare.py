"""From settings to decoded source images, and to annotated ones."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

from gravis_triton.data.cache import cached_images, cached_masks
from gravis_triton.data.cached_images import CachedImages
from gravis_triton.data.cached_masks import CachedMasks
from gravis_triton.data.collection import open_collection
from gravis_triton.data.records import Collection, Record, Task
from gravis_triton.data.split import pooled, refuse_unannotated
from gravis_triton.settings import DataSettings

Progress = Callable[[int, int], None]


def prepare_images(
    settings: DataSettings, *, seed: int, progress: Progress
) -> tuple[Collection, CachedImages]:
    """The collection that the settings name, and its decoded images in the same order.

    With `split_seed` the official training and validation images are one pool. Left out are the official test split,
    what shows a lesion or patient of it, and what cannot be read. `progress` hears (done, total) while images are
    decoded.
    """
    collection = _opened(settings, seed)
    sources, _ = _apart_from_test(collection)
    images = _decoded(sources, settings, progress)
    return dataclasses.replace(collection, records=images.records), images


def prepare_annotated(
    settings: DataSettings, *, seed: int, task: Task, progress: Progress
) -> tuple[Collection, CachedImages, CachedMasks | None]:
    """As `prepare_images`, with the official test split; and for the task "mask" the images' lesion masks.

    The records and images of `prepare_images` come first, in the same order, and their files in the cache are shared.
    `progress` hears (done, total) of the images outside of the test split, of the others, and of the masks.
    Raises UserError where no image is annotated, and where masks cannot be used.
    """
    collection = _opened(settings, seed)
    refuse_unannotated(collection, task)
    sources, others = _apart_from_test(collection)
    images = _decoded(sources, settings, progress).followed_by(_decoded(others, settings, progress))
    collection = dataclasses.replace(collection, records=images.records)
    if task == "label":
        return collection, images, None
    masks = cached_masks(
        images, directory=_cache_directory(settings), workers=settings.num_workers, progress=progress
    )
    return collection, images, masks


def _opened(settings: DataSettings, seed: int) -> Collection:
    collection = open_collection(settings.data, seed=seed, synthetic_sources=settings.synthetic_sources)
    return collection if settings.split_seed is None else pooled(collection)


def _apart_from_test(collection: Collection) -> tuple[list[Record], list[Record]]:
    """(what may be pre-trained on, the official test split and what shows a lesion or patient of it)."""
    tested = {record.group for record in collection.records if record.split == "test"} - {None}
    sources: list[Record] = []
    others: list[Record] = []
    for record in collection.records:
        (others if record.split == "test" or record.group in tested else sources).append(record)
    return sources, others


def _decoded(records: Sequence[Record], settings: DataSettings, progress: Progress) -> CachedImages:
    return cached_images(
        records,
        short_side=settings.cache_size,
        directory=_cache_directory(settings),
        workers=settings.num_workers,
        progress=progress,
    )


def _cache_directory(settings: DataSettings) -> Path | None:
    return Path(settings.cache_dir) if settings.cache_dir else None
