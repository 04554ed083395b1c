"""The decode-once cache: every image and mask is decoded once, resized and kept for all later runs."""

import os
import random
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from gravis_triton.data.cache.images import CachedImages, CachedMasks
from gravis_triton.data.cache.items import CacheItem, ImageItem, MaskItem
from gravis_triton.data.cache.shards import Shard, is_whole, open_shard, shard_of, skipped_in, write_shard
from gravis_triton.data.cache.workers import results_of
from gravis_triton.data.datasets.records import Record
from gravis_triton.errors import UserError

Progress = Callable[[int, int], None]

# Most files per collection: each stays open while it is memory-mapped.
_MOST_SHARDS = 256
_SMALLEST_SHARD = 32

# A larger share of unreadable images is more than a few bad files.
_TOLERATED = 0.05

# How much of the cache is checked for damage when it is opened.
_EXAMINED_BYTES = 4 * 2**30

_SECONDS_A_DAY = 86_400


def cached_images(
    records: Sequence[Record],
    *,
    short_side: int,
    directory: Path | None = None,
    workers: int,
    progress: Progress | None = None,
) -> CachedImages:
    """`records` as uint8 RGB images whose short side is `short_side` pixels, from the cache or decoded into it.

    Aspect ratio and field of view are kept; an image longer than 16 times its short side counts as unreadable.
    records: runs with the same records in the same order share their images, whatever the labels; a file holds 32 or
        more consecutive records, so pass a whole collection rather than a changing part of it.
    directory: of the cache; default: $GRAVIS_CACHE, else ~/.cache/gravis-triton. It may be deleted at any time between
        runs. Its files are named by a hash of their records' fingerprints and `short_side`: an interrupted build
        resumes where it stopped, and a changed image is decoded again. Several processes may build the same cache at
        once; they share the work.
    workers: number of decoding processes; 0 decodes in this process.
    progress: called with (records done, total records) at the start and after each file of records.
    Raises UserError if more than 5% of the images cannot be read, or if the disk is full or not writable.
    """
    if short_side < 1:
        raise UserError(f"short side {short_side}: at least 1 pixel is needed")
    items = [ImageItem(record.id, record.image, short_side) for record in records]
    shards = _plan(items, f"short side {short_side}", _prepared(directory or default_directory()))
    _build_missing(shards, workers, progress, check=lambda skipped: _check_too_many(skipped, len(records)))
    return CachedImages(shards, records)


def cached_masks(
    images: CachedImages,
    *,
    directory: Path | None = None,
    workers: int,
    progress: Progress | None = None,
) -> CachedMasks:
    """The lesion masks of `images`, each at its image's height and width, from the cache or decoded into it.

    A mask pixel is lesion if more than half of its area is above 128 in the file.
    directory, workers, progress: as for `cached_images`; records without a mask are not counted.
    Raises UserError if a mask cannot be read or does not have its image's aspect ratio (to within one pixel of the
    image), or if the disk is full or not writable.
    """
    owners = [index for index, record in enumerate(images.records) if record.mask is not None]
    items = [_lesion_mask(images.records[index], images[index]) for index in owners]
    shards = _plan(items, "masks", _prepared(directory or default_directory()))
    _build_missing(shards, workers, progress)
    masks = CachedMasks(shards, owners, len(images))
    if masks.skipped:
        raise UserError(
            f"{len(masks.skipped)} of {len(owners)} masks cannot be used: {_examples(masks.skipped)}; fix these "
            "files, or remove them and their images"
        )
    return masks


def default_directory() -> Path:
    """$GRAVIS_CACHE, else ~/.cache/gravis-triton."""
    configured = os.environ.get("GRAVIS_CACHE")
    return Path(configured).expanduser() if configured else Path.home() / ".cache" / "gravis-triton"


def _prepared(directory: Path) -> Path:
    folder = directory / "images"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for abandoned in folder.glob("*.tmp"):  # left by killed runs
            if abandoned.stat().st_mtime < time.time() - _SECONDS_A_DAY:
                abandoned.unlink(missing_ok=True)
    except FileNotFoundError:  # another process was faster
        pass
    except OSError as error:
        raise UserError(f"cannot use {directory} for the image cache ({error}): set GRAVIS_CACHE") from error
    return folder


def _lesion_mask(record: Record, image: np.ndarray) -> MaskItem:
    assert record.mask is not None
    return MaskItem(record.id, record.mask, record.image, image.shape[0], image.shape[1])


def _plan(items: Sequence[CacheItem], kind: str, folder: Path) -> list[Shard]:
    size = max(_SMALLEST_SHARD, -(-len(items) // _MOST_SHARDS))
    return [shard_of(folder, kind, items[start : start + size]) for start in range(0, len(items), size)]


def _build_missing(
    shards: Sequence[Shard],
    workers: int,
    progress: Progress | None,
    check: Callable[[Sequence[tuple[str, str]]], None] = lambda skipped: None,
) -> None:
    """Write the missing shards; `check` is given (id, reason) of the items skipped so far and may raise."""
    total = sum(len(shard.items) for shard in shards)
    skipped: list[tuple[str, str]] = []
    missing, done = [], 0
    damaged = _damaged(shards)
    for shard in shards:
        table = None if shard in damaged else open_shard(shard)
        if table is None:
            missing.append(shard)
        else:
            skipped += skipped_in(table)
            done += len(shard.items)
    check(skipped)
    _report(progress, done, total)
    with closing(results_of(_build, _from_own_start(missing), workers=workers)) as results:
        for shard, skipped_here in results:
            skipped += skipped_here
            check(skipped)
            done += len(shard.items)
            _report(progress, done, total)


def _damaged(shards: Sequence[Shard]) -> list[Shard]:
    """Delete and return the existing files whose bytes have changed since they were written.

    Of a cache too large to read in seconds, a random part is checked, a different one each time.
    """
    damaged: list[Shard] = []
    left = _EXAMINED_BYTES
    present = [shard for shard in shards if shard.file.is_file()]
    for shard in random.Random().sample(present, len(present)):
        left -= shard.file.stat().st_size
        if left < 0:
            break
        if not is_whole(shard):
            shard.file.unlink(missing_ok=True)
            damaged.append(shard)
    return damaged


def _from_own_start(missing: list[Shard]) -> list[Shard]:
    """Processes that build the same cache begin at different shards, and skip those that others finished."""
    start = int(os.environ.get("RANK", 0)) * len(missing) // int(os.environ.get("WORLD_SIZE", 1))
    return missing[start:] + missing[:start]


def _build(shard: Shard) -> list[tuple[str, str]]:
    table = open_shard(shard)
    if table is None:
        write_shard(shard)
        table = open_shard(shard)
    if table is None:
        raise UserError(f"{shard.file} cannot be read back after writing: check the disk, then run again")
    return skipped_in(table)


def _check_too_many(skipped: Sequence[tuple[str, str]], total: int) -> None:
    if len(skipped) > _TOLERATED * total:
        raise UserError(
            f"at least {len(skipped)} of {total} images cannot be read, more than {_TOLERATED:.0%}, "
            f"e.g. {_examples(skipped)}; `gravis check` lists them all: remove or replace them"
        )


def _examples(skipped: Sequence[tuple[str, str]]) -> str:
    return "; ".join(f"{image_id}: {reason}" for image_id, reason in skipped[:3])


def _report(progress: Progress | None, done: int, total: int) -> None:
    if progress is not None:
        progress(done, total)
