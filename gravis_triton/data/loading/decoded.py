"""Images decoded on worker processes for a single pass over them, without a cache."""

from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from torch.utils.data import DataLoader, Dataset

from gravis_triton.data.cache.pixels import resized_pixels
from gravis_triton.data.datasets.records import ImageReference
from gravis_triton.data.loading.loader import Pixels
from gravis_triton.data.loading.workers import Loader

Collated = TypeVar("Collated")


class DecodedBatch(NamedTuple, Generic[Collated]):
    """indices: of the readable images. images: these, collated; None if there are none. skipped: (index, reason) of the
    unreadable ones."""

    indices: list[int]
    images: Collated | None
    skipped: list[tuple[int, str]]


class _Decoding(Dataset[tuple[int, Pixels | str]]):
    def __init__(self, images: Sequence[ImageReference], short_side: int) -> None:
        self.images, self.short_side = images, short_side

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[int, Pixels | str]:
        try:
            return index, resized_pixels(self.images[index].read(self.short_side), self.short_side)
        except (OSError, ValueError) as error:
            return index, str(error)


class _Collating(Generic[Collated]):
    """A class, not a closure: worker processes may have to pickle it."""

    def __init__(self, collate: Callable[[list[Pixels]], Collated]) -> None:
        self.collate = collate

    def __call__(self, items: list[tuple[int, Pixels | str]]) -> DecodedBatch[Collated]:
        read = {index: item for index, item in items if not isinstance(item, str)}
        skipped = [(index, item) for index, item in items if isinstance(item, str)]
        return DecodedBatch(list(read), self.collate(list(read.values())) if read else None, skipped)


def decoded_loader(
    images: Sequence[ImageReference],
    batches: list[list[int]],
    *,
    short_side: int,
    collate: Callable[[list[Pixels]], Collated],
    workers: int,
) -> DataLoader[DecodedBatch[Collated]]:
    """Batches of images, resized to a short side as in the image cache; each batch lists indices of `images`."""
    return Loader(
        _Decoding(images, short_side),
        batch_sampler=batches,
        collate_fn=_Collating(collate),
        num_workers=workers,
    )
