"""From cached images to batches on the device."""

from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from gravis_triton.data.cache.images import Images, Masks, Pixels
from gravis_triton.data.datasets.records import Collection
from gravis_triton.data.loading.sampler import EpochBatches
from gravis_triton.data.loading.workers import Loader

Annotation = TypeVar("Annotation")
Annotation_co = TypeVar("Annotation_co", covariant=True)
Batch = TypeVar("Batch")


class ByIndex(Protocol[Annotation_co]):
    def __getitem__(self, index: int) -> Annotation_co: ...


class ImageBatch(NamedTuple):
    """Images of one step, uint8, on a common canvas.

    images: (images, 3, height, width); beyond an image's own size its edge pixels repeat.
    image_sizes: (images, 2), the height and width of each image.
    """

    images: Tensor
    image_sizes: Tensor


class LabeledBatch(NamedTuple):
    """Images and image_sizes as in `ImageBatch`; labels: (images,) int64, the class of each."""

    images: Tensor
    image_sizes: Tensor
    labels: Tensor


class MaskBatch(NamedTuple):
    """Images and image_sizes as in `ImageBatch`; masks: (images, 1, height, width) uint8 on the same canvas, 255 where
    lesion, else 0; beyond a mask's own size its edge pixels repeat."""

    images: Tensor
    image_sizes: Tensor
    masks: Tensor


class _Subset(Dataset[Pixels]):
    def __init__(self, images: Images, indices: Sequence[int]) -> None:
        self.images, self.indices = images, indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Pixels:
        return self.images[self.indices[index]]


class _Annotated(Dataset[tuple[Pixels, Annotation]], Generic[Annotation]):
    """The i-th item: image and annotation number indices[i]."""

    def __init__(self, images: Images, annotations: ByIndex[Annotation], indices: Sequence[int]) -> None:
        self.images, self.annotations, self.indices = images, annotations, indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> tuple[Pixels, Annotation]:
        return self.images[self.indices[index]], self.annotations[self.indices[index]]


def collate_images(images: list[Pixels]) -> ImageBatch:
    """Put images of different sizes on the smallest canvas that holds them all."""
    canvas = _on_one_canvas(images)
    image_sizes = torch.tensor([image.shape[:2] for image in images])
    return ImageBatch(canvas.permute(0, 3, 1, 2).contiguous(), image_sizes)


def _collate_labeled(items: list[tuple[Pixels, int]]) -> LabeledBatch:
    images, labels = zip(*items, strict=True)
    return LabeledBatch(*collate_images(list(images)), torch.tensor(labels))


def _collate_masked(items: list[tuple[Pixels, Pixels]]) -> MaskBatch:
    images, masks = zip(*items, strict=True)
    return MaskBatch(*collate_images(list(images)), _on_one_canvas(masks).unsqueeze(1))


def _on_one_canvas(images: Sequence[Pixels]) -> Tensor:
    """(images, height, width, ...): the smallest canvas that holds them all; each image's edge pixels repeat."""
    height, width = max(p.shape[0] for p in images), max(p.shape[1] for p in images)
    return torch.from_numpy(np.stack([_edge_padded(image, height, width) for image in images]))


def _edge_padded(image: Pixels, height: int, width: int) -> Pixels:
    beyond = [(0, height - image.shape[0]), (0, width - image.shape[1])]
    return np.pad(image, [*beyond, *[(0, 0)] * (image.ndim - 2)], mode="edge")


def collate_central_squares(images: list[Pixels]) -> Tensor:
    """The largest central square of each image, (images, 3, side, side) uint8; all must have the same short side."""
    squares = []
    for image in images:
        height, width = image.shape[:2]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        squares.append(image[top : top + side, left : left + side])
    return torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2).contiguous()


def image_loader(
    images: Images, indices: Sequence[int], batches: EpochBatches, *, workers: int
) -> DataLoader[ImageBatch]:
    """Batches of images for pre-training; `batches` indexes `indices`, which index `images`."""
    return _training_loader(_Subset(images, indices), batches, collate_images, workers)


def labeled_loader(
    images: Images,
    collection: Collection,
    indices: Sequence[int],
    batches: Sampler[list[int]],
    *,
    workers: int,
) -> DataLoader[LabeledBatch]:
    """Batches of images and their labels; `batches` indexes `indices`, which index both `images` and `collection`.

    Raises ValueError if images and collection differ in number, or an image of `indices` has no label.
    """
    if len(collection.records) != len(images):
        raise ValueError(f"{len(collection.records)} records for {len(images)} images")
    labels = dict(zip(indices, collection.labels(indices), strict=True))
    return _training_loader(_Annotated(images, labels, indices), batches, _collate_labeled, workers)


def mask_loader(
    images: Images, masks: Masks, indices: Sequence[int], batches: Sampler[list[int]], *, workers: int
) -> DataLoader[MaskBatch]:
    """Batches of images and their masks; `batches` indexes `indices`, which index both `images` and `masks`."""
    return _training_loader(_Annotated(images, masks, indices), batches, _collate_masked, workers)


def whole_image_loader(
    images: Images, indices: Sequence[int], *, batch_size: int, workers: int
) -> DataLoader[ImageBatch]:
    """Whole images, in order, for evaluation; the last batch may be smaller."""
    return _evaluation_loader(_Subset(images, indices), batch_size, collate_images, workers)


def central_square_loader(
    images: Images, indices: Sequence[int], *, batch_size: int, workers: int
) -> DataLoader[Tensor]:
    """The central squares of the images `indices`, in order, for evaluation."""
    return _evaluation_loader(_Subset(images, indices), batch_size, collate_central_squares, workers)


def _training_loader(
    items: Dataset[Any], batches: Sampler[list[int]], collate: Callable[[list[Any]], Batch], workers: int
) -> DataLoader[Batch]:
    return Loader[Batch](
        items,
        batch_sampler=batches,
        collate_fn=collate,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
    )


def _evaluation_loader(
    items: Dataset[Any], batch_size: int, collate: Callable[[list[Any]], Batch], workers: int
) -> DataLoader[Batch]:
    return Loader[Batch](
        items,
        batch_size=batch_size,
        collate_fn=collate,
        num_workers=workers,
    )
