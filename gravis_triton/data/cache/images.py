"""The decode-once cache: every image and mask is decoded once, resized and kept for all later runs."""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from gravis_triton.data.cache.pixels import check_fit, fitted_mask, resized_pixels
from gravis_triton.data.cache.store import Item, Pixels, Progress, StoredPixels, key_of, open_stored
from gravis_triton.data.datasets.records import ImageReference, Record
from gravis_triton.errors import UserError
from gravis_triton.files import atomic_write, to_bytes
from gravis_triton.process import available_cores

# Part of every key: increment it whenever the same images would be stored differently.
_FORMAT = 4

# A larger share of unreadable images is more than a few bad files.
_TOLERATED = 0.05


class Images(Protocol):
    """Decoded images by index, (height, width, 3) uint8; `CachedImages` is one."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Pixels: ...


class Masks(Protocol):
    """Lesion masks by the index of their image, (height, width) uint8, 255 or 0."""

    def __getitem__(self, index: int) -> Pixels: ...


@dataclass(frozen=True, slots=True)
class CachedImages:
    """The readable images of a sequence of records, decoded, resized and memory-mapped.

    images[i]: (height, width, 3) uint8, that of records[i]; a read-only view. skipped: (id, reason) of the images that
    could not be decoded. file: the path of a file for what is derived from exactly these images, less its suffix.
    """

    records: tuple[Record, ...]
    skipped: tuple[tuple[str, str], ...]
    stored: StoredPixels
    file: Path

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Pixels:
        return self.stored[index]

    def derived(self, name: str, compute: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """An array that depends on these images only: computed once, then kept in the cache."""
        file = self.file.with_name(f"{self.file.name}-{name}.npy")
        with suppress(OSError, ValueError, EOFError, BadZipFile):  # it does not exist, or is damaged
            loaded = np.load(file)
            if isinstance(loaded, np.ndarray):  # not an archive of arrays
                return loaded
        array = compute()
        with suppress(UserError):  # a full disk, a folder of another user
            atomic_write(file, to_bytes(lambda opened: np.save(opened, array)))
        return array


def cached_images(
    records: Sequence[Record],
    *,
    short_side: int,
    directory: str | Path | None = None,
    workers: int,
    progress: Progress = lambda done, total: None,
) -> CachedImages:
    """`records` as uint8 RGB images whose short side is `short_side` pixels, from the cache or decoded into it.

    Aspect ratio and field of view are kept; an image longer than 16 times its short side counts as unreadable.
    Each image is found by its id, its reference's fingerprint (for a file: name, size and modification time) and
    `short_side`, so a collection that grows, shrinks or is sorted anew decodes only what is new.
    directory: of the cache; default: $GRAVIS_CACHE, else ~/.cache/gravis-triton. It may be deleted at any time between
        runs. An interrupted build resumes where it stopped.
    workers: number of decoding processes; 0 decodes in this process.
    progress: called with (records done, total records) at the start and after each file of records.
    Raises UserError if more than 5% of the images cannot be read, or if the disk is full or not writable.
    """
    if short_side < 1:
        raise UserError(f"short side {short_side}: at least 1 pixel is needed")

    def check(errors: Mapping[int, str]) -> None:
        if len(errors) > _TOLERATED * len(records):
            raise UserError(
                f"at least {len(errors)} of {len(records)} images cannot be read, more than {_TOLERATED:.0%}, "
                f"e.g. {_examples(records, errors)}; `gravis check` lists them all: remove or replace them"
            )

    folder = cache_directory(directory) / f"images-{short_side}"
    items = [
        Item(
            key_of(_FORMAT, short_side, record.id, record.image.fingerprint()),
            f"the image {record.id}",
            partial(_image_pixels, record.image, short_side),
        )
        for record in records
    ]
    stored, errors = open_stored(
        folder,
        items,
        channels=(3,),
        workers=_local_workers(workers),
        progress=progress,
        check=check,
    )
    skipped = tuple((records[index].id, errors[index]) for index in sorted(errors))
    readable = [index for index in range(len(records)) if index not in errors]
    stored = replace(stored, places=stored.places[readable])
    file = folder / key_of(*dict.fromkeys(item.key for item in items)).hex()
    return CachedImages(tuple(records[index] for index in readable), skipped, stored, file)


def cached_masks(
    images: CachedImages,
    *,
    directory: str | Path | None = None,
    workers: int,
    progress: Progress = lambda done, total: None,
) -> StoredPixels:
    """The lesion masks of `images` by index, (height, width) uint8, 255 where lesion, else 0: at exactly the height and
    width of their image. A KeyError for an image without a mask.

    A mask pixel is lesion if more than half of its area is above 128 in the file.
    directory, workers, progress: as for `cached_images`; records without a mask are not counted.
    Raises UserError if a mask cannot be read or does not fit its image (`check_fit`), or if the disk is full or not
    writable.
    """
    items: list[Item | None] = []
    for record, (height, width) in zip(images.records, images.stored.places[:, 2:].tolist(), strict=True):
        if record.mask is None:
            items.append(None)
        else:
            key = key_of(_FORMAT, "mask", height, width, record.id, record.mask.fingerprint())
            pixels = partial(_mask_pixels, record.mask, record.image, height, width)
            items.append(Item(key, f"the mask of {record.id}", pixels))
    masks, errors = open_stored(
        cache_directory(directory) / "masks",
        items,
        channels=(),
        workers=_local_workers(workers),
        progress=progress,
        check=lambda errors: None,
    )
    if errors:
        raise UserError(
            f"{len(errors)} of {sum(item is not None for item in items)} masks cannot be used: "
            f"{_examples(images.records, errors)}; fix these files, or remove them and their images"
        )
    return masks


def _image_pixels(image: ImageReference, short_side: int) -> Pixels:
    return resized_pixels(image.read(short_side), short_side)


def _mask_pixels(mask: ImageReference, image: ImageReference, height: int, width: int) -> Pixels:
    """The mask of an image at the cached image's height and width; 255 where lesion, else 0."""
    opened = mask.read(min(height, width))
    check_fit(opened.size, image.size())
    return fitted_mask(opened, height, width)


def cache_directory(directory: str | Path | None = None) -> Path:
    """The given directory, else $GRAVIS_CACHE, else ~/.cache/gravis-triton."""
    return Path(directory or os.environ.get("GRAVIS_CACHE") or "~/.cache/gravis-triton").expanduser()


def _local_workers(workers: int) -> int:
    """While one process of this machine decodes, the others wait: it uses their workers too."""
    return min(workers * int(os.environ.get("LOCAL_WORLD_SIZE", 1)), max(workers, available_cores()))


def _examples(records: Sequence[Record], errors: Mapping[int, str]) -> str:
    return "; ".join(f"{records[index].id}: {errors[index]}" for index in sorted(errors)[:3])
