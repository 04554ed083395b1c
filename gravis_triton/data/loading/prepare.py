"""From settings to decoded images, with or without annotations."""

import dataclasses
from collections.abc import Sequence

from gravis_triton.data.cache.images import CachedImages, Masks, cached_images, cached_masks
from gravis_triton.data.cache.pixels import is_nearly_black, is_suspect, most_are_suspect, other_levels
from gravis_triton.data.cache.store import Progress
from gravis_triton.data.datasets.open import open_collection
from gravis_triton.data.datasets.records import Annotation, Collection, Record
from gravis_triton.data.splits.split import check_annotated, pooled
from gravis_triton.errors import UserError
from gravis_triton.settings.groups import DataSettings

_SAMPLE, _FEW = 200, 16  # images that are looked at, and masks that are read from their files


def prepare_images(settings: DataSettings, *, seed: int, progress: Progress) -> tuple[Collection, CachedImages]:
    """The collection that the settings name, and its decoded images in the same order.

    With `split_seed` the official training and validation images are one pool. The official test split, other images
    of its lesions or patients, and unreadable images are left out. `progress` is called with (done, total).
    """
    collection = _open(settings, seed)
    training, closed = _apart_from_test(collection)
    images = decode(training, settings, progress)
    tested = sum(record.split == "test" for record in closed)
    related = len(closed) - tested
    left_out = f"left out: {tested:,} images of the test split, {related:,} more of its lesions or patients"
    notes = (*collection.notes, *([left_out] if closed else []), *_dark_images(images))
    return dataclasses.replace(collection, records=images.records, notes=notes), images


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
    training, closed = _apart_from_test(collection)
    images = decode([*training, *closed], settings, progress)
    notes = (*collection.notes, *_dark_images(images))
    collection = dataclasses.replace(collection, records=images.records, notes=notes)
    if annotation == "label":
        return collection, images, None
    masks = cached_masks(images, directory=settings.cache_dir, workers=settings.workers, progress=progress)
    return collection, images, masks


def _open(settings: DataSettings, seed: int) -> Collection:
    collection = open_collection(
        settings.data, seed=seed, synthetic_images=settings.synthetic_images, **settings.reading()
    )
    return collection if settings.split_seed is None else pooled(collection)


def _apart_from_test(collection: Collection) -> tuple[list[Record], list[Record]]:
    """(records for pre-training, the official test split and other images of its lesions or patients)."""
    tested = {record.group for record in collection.records if record.split == "test"} - {None}
    training: list[Record] = []
    closed: list[Record] = []
    for record in collection.records:
        (closed if record.split == "test" or record.group in tested else training).append(record)
    return training, closed


def decode(records: Sequence[Record], settings: DataSettings, progress: Progress) -> CachedImages:
    """The readable images of `records`, in the cache. `progress` is called with (done, total)."""
    return cached_images(
        records,
        short_side=settings.short_side,
        directory=settings.cache_dir,
        workers=settings.workers,
        progress=progress,
    )


def _dark_images(images: CachedImages) -> list[str]:
    """A warning about nearly black images among a sample."""
    sample = range(0, len(images), len(images) // _SAMPLE + 1)
    dark = [images.records[index].id for index in sample if is_nearly_black(images[index])]
    named = ", ".join(dark[:3])
    return [f"warning: {len(dark)} of {len(sample)} images are nearly black, e.g. {named}"] if dark else []


def describe_masks(collection: Collection, masks: Masks) -> list[str]:
    """Lines for the user about masks of other values than 0 and 255, from a sample.

    Raises UserError if most masks are empty or cover nearly everything.
    """
    drawn = collection.annotated("mask")
    sample = drawn[:: len(drawn) // _SAMPLE + 1]
    suspect = [collection.records[index].id for index in sample if is_suspect(masks[index])]
    if most_are_suspect(len(suspect), len(sample)):
        raise UserError(
            f"{len(suspect)} of {len(sample)} masks are empty or cover nearly everything, e.g. "
            f"{', '.join(suspect[:3])}: lesion must be white (255) on black (0); gravis check lists them"
        )
    read = [mask.read() for index in sample[:_FEW] if (mask := collection.records[index].mask)]
    levels = next(filter(None, map(other_levels, read)), "")
    return [f"masks: the values {levels} are read as background and lesion"] if levels else []
