"""From cached images to batches on the device."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from gravis_triton.data.sampler import EpochBatches

Pixels = NDArray[np.uint8]


class Images(Protocol):
    """Decoded images by index, (height, width, 3) uint8; `CachedImages` is one."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Pixels: ...


class SourceBatch(NamedTuple):
    """Source images of one step, uint8, on a common canvas.

    images: (sources, 3, height, width); beyond an image's own size its edge pixels repeat.
    extents: (sources, 2), the height and width of each image.
    """

    images: Tensor
    extents: Tensor


class _Subset(Dataset[Pixels]):
    def __init__(self, images: Images, indices: Sequence[int]) -> None:
        self.images, self.indices = images, indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Pixels:
        return self.images[self.indices[index]]


def collate_sources(images: list[Pixels]) -> SourceBatch:
    """Put images of different sizes on the smallest canvas that holds them all."""
    height, width = max(i.shape[0] for i in images), max(i.shape[1] for i in images)
    canvas = np.stack(
        [np.pad(i, ((0, height - i.shape[0]), (0, width - i.shape[1]), (0, 0)), mode="edge") for i in images]
    )
    extents = torch.tensor([i.shape[:2] for i in images])
    return SourceBatch(torch.from_numpy(canvas).permute(0, 3, 1, 2).contiguous(), extents)


def collate_central_squares(images: list[Pixels]) -> Tensor:
    """The largest central square of each image, (images, 3, side, side) uint8; all must have the same short side."""
    squares = []
    for image in images:
        height, width = image.shape[:2]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        squares.append(image[top : top + side, left : left + side])
    return torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2).contiguous()


def source_loader(
    images: Images, indices: Sequence[int], batches: EpochBatches, *, workers: int
) -> DataLoader[SourceBatch]:
    """Batches of source images for pre-training; `batches` indexes `indices`, which index `images`."""
    return DataLoader[SourceBatch](
        _Subset(images, indices),  # type: ignore[arg-type]  # its items become batches in collate_fn
        batch_sampler=batches,
        collate_fn=collate_sources,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
    )


def central_square_loader(
    images: Images, indices: Sequence[int], *, batch_size: int, workers: int
) -> DataLoader[Tensor]:
    """The central squares of some images, in order, for evaluation."""
    return DataLoader[Tensor](
        _Subset(images, indices),  # type: ignore[arg-type]  # likewise
        batch_size=batch_size,
        collate_fn=collate_central_squares,
        num_workers=workers,
    )
