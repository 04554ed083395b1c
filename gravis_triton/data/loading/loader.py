"""From cached images, or image files, to batches."""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from gravis_triton.data.cache.images import Images, Masks
from gravis_triton.data.cache.pixels import resized_pixels
from gravis_triton.data.cache.store import Pixels
from gravis_triton.data.datasets.records import Collection, ImageReference
from gravis_triton.process import STOP_SIGNALS, signal_on_parents_death

Item_co = TypeVar("Item_co", covariant=True)
Name = TypeVar("Name")
Batch = TypeVar("Batch")


class ImageBatch(NamedTuple):
    """Images of one step, uint8, on a common canvas.

    images: (images, 3, height, width); beyond an image's own size its edge pixels repeat.
    image_sizes: (images, 2), the height and width of each image.
    index: (images,) int64, a number for each image of the data set.
    group: (images,) int64, the same number for images of one lesion or patient.
    """

    images: Tensor
    image_sizes: Tensor
    index: Tensor  # type: ignore[assignment]  # hides that of tuple
    group: Tensor

    def unpadded(self) -> list[Pixels]:
        """Each image at its own size."""
        sizes = self.image_sizes.tolist()
        images = self.images.permute(0, 2, 3, 1).cpu().numpy()
        return [image[:height, :width] for image, (height, width) in zip(images, sizes, strict=True)]


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


class DecodedBatch(NamedTuple, Generic[Name, Batch]):
    """names: of the readable images. images: these, collated; None if there are none. skipped: (name, reason) of the
    unreadable ones."""

    names: list[Name]
    images: Batch | None
    skipped: list[tuple[Name, str]]


def collate_images(
    images: Sequence[Pixels], index: Iterable[int] | None = None, group: Iterable[int] | None = None
) -> ImageBatch:
    """Put images of different sizes on the smallest canvas that holds them all. index: default 0, 1, ...; group:
    default index."""
    numbers = torch.tensor(list(range(len(images)) if index is None else index))
    return ImageBatch(*_canvas_and_sizes(images), numbers, numbers if group is None else torch.tensor(list(group)))


def collate_central_squares(images: Sequence[Pixels]) -> Tensor:
    """The largest central square of each image, (images, 3, side, side) uint8; all must have the same short side."""
    squares = []
    for image in images:
        height, width = image.shape[:2]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        squares.append(image[top : top + side, left : left + side])
    return torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2).contiguous()


def image_loader(
    images: Images,
    indices: Sequence[int],
    batches: Sampler[list[int]],
    *,
    workers: int,
    groups: NDArray[np.int64] | None = None,
) -> DataLoader[ImageBatch]:
    """Batches of images for pre-training; `batches` indexes `indices`, which index `images` and `groups`: a number for
    each image, the same for images of one lesion or patient (default: all differ)."""
    numbers = range(len(images))
    columns = (images, numbers, numbers if groups is None else groups)
    return _loader(indices, columns, collate_images, workers, batch_sampler=batches)


def labeled_loader(
    images: Images, collection: Collection, indices: Sequence[int], batches: Sampler[list[int]], *, workers: int
) -> DataLoader[LabeledBatch]:
    """Batches of images and their labels; `batches` indexes `indices`, which index both `images` and `collection`.

    Raises ValueError if images and collection differ in number, or an image of `indices` has no label.
    """
    if len(collection.records) != len(images):
        raise ValueError(f"{len(collection.records)} records for {len(images)} images")
    labels = dict(zip(indices, collection.labels(indices), strict=True))
    return _loader(indices, (images, labels), _collate_labeled, workers, batch_sampler=batches)


def mask_loader(
    images: Images, masks: Masks, indices: Sequence[int], batches: Sampler[list[int]], *, workers: int
) -> DataLoader[MaskBatch]:
    """Batches of images and their masks; `batches` indexes `indices`, which index both `images` and `masks`."""
    return _loader(indices, (images, masks), _collate_masked, workers, batch_sampler=batches)


def whole_image_loader(
    images: Images, indices: Sequence[int], *, batch_size: int, workers: int
) -> DataLoader[ImageBatch]:
    """Whole images, in order, for evaluation; the last batch may be smaller."""
    columns = (images, range(len(images)))
    return _loader(indices, columns, collate_images, workers, batch_size=batch_size)


def central_square_loader(
    images: Images, indices: Sequence[int], *, batch_size: int, workers: int
) -> DataLoader[Tensor]:
    """The central squares of the images `indices`, in order, for evaluation."""
    return _loader(indices, (images,), collate_central_squares, workers, batch_size=batch_size)


def decoded_loader(
    batches: Iterable[Sequence[tuple[Name, ImageReference]]],
    *,
    short_side: int,
    collate: Callable[[list[Pixels]], Batch],
    workers: int,
) -> DataLoader[DecodedBatch[Name, Batch]]:
    """Batches of images with their names, decoded for a single pass over them, with a short side as in the image cache.
    `batches` is read ahead, in this process."""
    return Loader(
        _Decoded(short_side),
        batch_sampler=batches,
        collate_fn=partial(_collate_readable, collate),
        num_workers=workers,
    )


class _Columns(Dataset[tuple[Any, ...]]):
    """The i-th item: the n-th cell of each column, where n = indices[i]."""

    def __init__(self, indices: Sequence[int], columns: Sequence[Any]) -> None:
        self.indices, self.columns = indices, columns

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        return tuple(column[self.indices[index]] for column in self.columns)


class _Decoded(Dataset[Any]):
    """The item of a named image: the name, and its pixels or why it cannot be decoded."""

    def __init__(self, short_side: int) -> None:
        self.short_side = short_side

    def __getitem__(self, named: tuple[Name, ImageReference]) -> tuple[Name, Pixels | str]:
        name, image = named
        try:
            return name, resized_pixels(image.read(self.short_side), self.short_side)
        except (OSError, ValueError) as error:
            return name, " ".join(str(error).split()) or type(error).__name__


def _collate_readable(
    collate: Callable[[list[Pixels]], Batch], items: list[tuple[Name, Pixels | str]]
) -> DecodedBatch[Name, Batch]:
    readable = [(name, item) for name, item in items if not isinstance(item, str)]
    skipped = [(name, item) for name, item in items if isinstance(item, str)]
    images = collate([pixels for _, pixels in readable]) if readable else None
    return DecodedBatch([name for name, _ in readable], images, skipped)


def _collate_labeled(images: Sequence[Pixels], labels: Sequence[Any]) -> LabeledBatch:
    return LabeledBatch(*_canvas_and_sizes(images), torch.tensor(labels))


def _collate_masked(images: Sequence[Pixels], masks: Sequence[Pixels]) -> MaskBatch:
    return MaskBatch(*_canvas_and_sizes(images), _on_one_canvas(masks).unsqueeze(1))


def _collate_columns(collate: Callable[..., Batch], items: list[tuple[Any, ...]]) -> Batch:
    return collate(*zip(*items, strict=True))


def _canvas_and_sizes(images: Sequence[Pixels]) -> tuple[Tensor, Tensor]:
    sizes = torch.tensor([image.shape[:2] for image in images])
    return _on_one_canvas(images).permute(0, 3, 1, 2).contiguous(), sizes


def _on_one_canvas(images: Sequence[Pixels]) -> Tensor:
    """(images, height, width, ...): the smallest canvas that holds them all; each image's edge pixels repeat."""
    height, width = max(p.shape[0] for p in images), max(p.shape[1] for p in images)
    return torch.from_numpy(np.stack([_edge_padded(image, height, width) for image in images]))


def _edge_padded(image: Pixels, height: int, width: int) -> Pixels:
    beyond = [(0, height - image.shape[0]), (0, width - image.shape[1])]
    return np.pad(image, [*beyond, *[(0, 0)] * (image.ndim - 2)], mode="edge")


def _loader(
    indices: Sequence[int], columns: Sequence[Any], collate: Callable[..., Batch], workers: int, **batches: Any
) -> DataLoader[Batch]:
    """Batches of the cells of columns; `collate` gets those of each column as a sequence."""
    return Loader[Batch](
        _Columns(indices, columns),
        collate_fn=partial(_collate_columns, collate),
        num_workers=workers,
        persistent_workers=workers > 0,
        **batches,
    )


class Loader(DataLoader[Item_co]):
    """A DataLoader to pinned memory, if there is a GPU, whose workers ignore stop signals, as the main process may need
    them until its step is done, and end with it, however it ends."""

    def __init__(self, items: Dataset[Any], **options: Any) -> None:
        super().__init__(items, worker_init_fn=_init_worker, pin_memory=torch.cuda.is_available(), **options)

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        if sys.platform == "win32":
            return super().__iter__()
        # workers inherit the mask, so that no signal reaches them before they ignore signals
        before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        try:
            return super().__iter__()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _init_worker(_worker: int) -> None:
    signal_on_parents_death(getattr(signal, "SIGKILL", signal.SIGTERM))
    main = multiprocessing.parent_process()
    if main is not None and not main.is_alive():  # it has ended already
        os._exit(1)
    sys.excepthook = _quiet_excepthook
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


def _quiet_excepthook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Omit the traceback of a thread that was sending a batch to a main process that has just ended."""
    if not issubclass(kind, ConnectionError | EOFError):
        sys.__excepthook__(kind, error, trace)
