"""The images of a pre-training run and those for evaluating its encoder, cached or streamed."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

from accelerate.utils import gather_object

from gravis_triton.data.cache.images import Images
from gravis_triton.data.cache.store import Progress
from gravis_triton.data.datasets.records import Collection, fingerprint_of
from gravis_triton.data.loading.loader import ImageBatch, collate_images, image_loader
from gravis_triton.data.loading.prepare import decode, prepare_images
from gravis_triton.data.loading.sampler import EpochBatches, group_numbers
from gravis_triton.data.loading.shards import ImageShards, labeled_images, open_shards
from gravis_triton.data.loading.streaming import StreamedBatches, smallest_share
from gravis_triton.data.splits.split import hold_out
from gravis_triton.errors import UserError
from gravis_triton.settings.defaults import resolved_split_seed
from gravis_triton.settings.jobs import PretrainSettings

_PREVIEW = 8  # images
_Skipped = Sequence[tuple[str, str]]


class Batches(Protocol):
    """The batches of one process in an epoch; `images` is the number of images over all processes."""

    batch_size: int
    images: int

    def __len__(self) -> int: ...

    def start(self, epoch: int, step: int) -> None: ...


@dataclass(frozen=True, slots=True)
class PretrainingData:
    """The data that a run trains on and is evaluated on.

    loader: yields the batches of an epoch, from where `batches.start` set it. preview: the first few images.
    collection, images: for evaluating an encoder, in the same order; `reference` and `validation` index them. Empty
    for streamed images without labels. description: one line. fingerprint: changes with the training images and, for
    streamed ones, their order. trained_images(): (ids, (id, reason) of unreadable ones) of the images that
    all processes have read; every process must call it.
    """

    batches: Batches
    loader: Iterable[ImageBatch]
    preview: ImageBatch
    collection: Collection
    images: Images
    reference: Sequence[int]
    validation: Sequence[int]
    skipped: _Skipped
    description: str
    fingerprint: str
    trained_images: Callable[[], tuple[list[str], _Skipped]]

    def for_evaluation(self) -> tuple[Collection, Images, Sequence[int], Sequence[int]]:
        """What an encoder is evaluated on: collection, images, reference, validation."""
        return self.collection, self.images, self.reference, self.validation

    def labeled(self) -> tuple[Sequence[int], Sequence[int]]:
        """The reference and the validation images that have a label."""
        return self.collection.annotated("label", self.reference), self.collection.annotated("label", self.validation)


def cached_data(settings: PretrainSettings, *, process: int, processes: int, progress: Progress) -> PretrainingData:
    """Images decoded once into the cache; validation images are not trained on."""
    batch_size, seed = settings.batch_size, settings.seed
    if batch_size * processes < 2:
        raise UserError("a batch of one image has no negatives: raise --batch-size to at least 2")
    collection, images = prepare_images(settings, seed=seed, progress=progress)
    training, validation = hold_out(
        collection, fraction=settings.val_fraction, seed=resolved_split_seed(settings, seed)
    )
    groups = group_numbers(collection)
    batches = EpochBatches(
        len(training), batch_size=batch_size, process=process, processes=processes, seed=seed, groups=groups[training]
    )
    classes = f", classes {', '.join(collection.classes)}" if collection.classes else ", no labels"
    return PretrainingData(
        batches=batches,
        loader=image_loader(images, training, batches, workers=settings.workers, groups=groups),
        preview=collate_images([images[i] for i in training[:_PREVIEW]]),
        collection=collection,
        images=images,
        reference=training,
        validation=validation,
        skipped=images.skipped,
        description=f"{collection.name}, {len(images):,} images{classes}; {len(training):,} for pre-training, "
        f"{len(validation):,} for validation",
        fingerprint=fingerprint_of(collection.records[i].id for i in training),
        trained_images=lambda: ([collection.records[i].id for i in training], images.skipped),
    )


def streamed_data(settings: PretrainSettings, *, process: int, processes: int, progress: Progress) -> PretrainingData:
    """Images read from shards without a cache.

    If there is a small labeled validation split, part of its images is evaluated against the others.
    """
    shards, labeled = open_shards(settings.data)
    batches = StreamedBatches(shards, settings, process=process, processes=processes)
    collection, images = Collection(settings.data, ()), cast(Images, ())
    if process == 0 and labeled is not None:
        collection = labeled_images(labeled)
        images = decode(collection.records, settings, progress)
        collection = dataclasses.replace(collection, records=images.records)
    reference, validation = hold_out(
        collection, fraction=settings.val_fraction, seed=resolved_split_seed(settings, settings.seed)
    )
    scores = f"{len(validation):,} of {len(images):,} labeled validation images evaluated against the others"

    def trained_images() -> tuple[list[str], _Skipped]:
        parts = gather_object([(batches.seen, batches.skipped)])
        skipped = {name: reason for _, part in parts for name, reason in part.items()}
        return sorted(set().union(*(ids for ids, _ in parts))), list(skipped.items())

    return PretrainingData(
        batches=batches,
        loader=batches,
        preview=batches.peek(_PREVIEW),
        collection=collection,
        images=images,
        reference=reference,
        validation=validation,
        skipped=(),
        description=f"{_described(shards, processes)}; "
        + (scores if validation else "no small labeled validation split, so no scores"),
        fingerprint=fingerprint_of(map(str, (shards.name, shards.rows, settings.seed, settings.shuffle_buffer))),
        trained_images=trained_images,
    )


def _described(shards: ImageShards, processes: int) -> str:
    images = "images" if None in shards.rows else f"{sum(filter(None, shards.rows)):,} images"
    is_even = smallest_share(shards.rows, processes)[0] == "shards"
    how = "" if is_even else f", each read by all {processes} processes as they do not divide evenly"
    return f"{shards.name}, {images} streamed from {len(shards.rows):,} shards{how}"
