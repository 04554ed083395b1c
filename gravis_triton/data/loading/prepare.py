"""From settings to decoded images, with or without annotations."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

from gravis_triton.data.cache.images import CachedImages, Masks, cached_images, cached_masks
from gravis_triton.data.datasets.open import open_collection
from gravis_triton.data.datasets.records import Annotation, Collection, Record
from gravis_triton.data.splits.split import check_annotated, pooled
from gravis_triton.settings import DataSettings

Progress = Callable[[int, int], None]


def prepare_images(
    settings: DataSettings, *, seed: int, progress: Progress
) -> tuple[Collection, CachedImages]:
    """The collection that the settings name, and its decoded images in the same order.

    With `split_seed` the official training and validation images are one pool. The official test split, other images
    of its lesions or patients, and unreadable images are left out. `progress` is called with (done, total).
    """
    collection = _open(settings, seed)
    training, _ = _apart_from_test(collection)
    images = decode(training, settings, progress)
    return dataclasses.replace(collection, records=images.records), images


def open_annotated(settings: DataSettings, *, seed: int, annotation: Annotation) -> Collection:
    """The collection that the settings name, with nothing decoded yet. Raises UserError if no image is annotated."""
    collection = _open(settings, seed)
    check_annotated(collection, annotation)
    return collection


def prepare_annotated(
    collection: Collection, settings: DataSettings, *, annotation: Annotation, progress: Progress
) -> tuple[Collection, CachedImages, Masks | None]:
    """The readable part of an opened collection, its decoded images in the same order, and their masks if asked for.

    The records and images of `prepare_images` come first, in the same order. `progress` is called with (done, total)
    for the images and then the masks.
    Raises UserError if masks cannot be used.
    """
    training, others = _apart_from_test(collection)
    images = decode([*training, *others], settings, progress)
    collection = dataclasses.replace(collection, records=images.records)
    if annotation == "label":
        return collection, images, None
    masks = cached_masks(images, directory=_cache(settings), workers=_workers(settings), progress=progress)
    return collection, images, masks


def _open(settings: DataSettings, seed: int) -> Collection:
    collection = open_collection(
        settings.data, seed=seed, synthetic_images=settings.synthetic_images, columns=settings.columns
    )
    return collection if settings.split_seed is None else pooled(collection)


def _apart_from_test(collection: Collection) -> tuple[list[Record], list[Record]]:
    """(records for pre-training, the official test split and other images of its lesions or patients)."""
    tested = {record.group for record in collection.records if record.split == "test"} - {None}
    training: list[Record] = []
    others: list[Record] = []
    for record in collection.records:
        (others if record.split == "test" or record.group in tested else training).append(record)
    return training, others


def decode(records: Sequence[Record], settings: DataSettings, progress: Progress) -> CachedImages:
    """The readable images of `records`, in the cache. `progress` is called with (done, total)."""
    assert settings.cache_size is not None  # resolved
    return cached_images(
        records,
        short_side=settings.cache_size,
        directory=_cache(settings),
        workers=_workers(settings),
        progress=progress,
    )


def _cache(settings: DataSettings) -> Path | None:
    return Path(settings.cache_dir) if settings.cache_dir else None


def _workers(settings: DataSettings) -> int:
    assert settings.num_workers is not None  # resolved
    return settings.num_workers
