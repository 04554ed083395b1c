"""The source images of a pre-training run and those that its encoder is scored on, cached or streamed."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from accelerate.utils import gather_object

from gravis_triton.data.loader import Images, Pixels, SourceBatch, collate_sources, source_loader
from gravis_triton.data.prepare import prepare_images
from gravis_triton.data.records import Collection, digest_of
from gravis_triton.data.sampler import EpochBatches
from gravis_triton.data.split import hold_out
from gravis_triton.data.streaming import StreamedBatches, labelled_images, open_shards, plan_epoch
from gravis_triton.data.streaming.plan import Plan
from gravis_triton.data.streaming.shards import ImageShards
from gravis_triton.errors import UserError
from gravis_triton.settings import PretrainSettings, split_seed

_SHOWN = 8
_Skipped = Sequence[tuple[str, str]]


class Batches(Protocol):
    """The batches of an epoch of one process; `sources` counts the images of all processes."""

    batch_size: int
    sources: int

    def __len__(self) -> int: ...

    def start(self, epoch: int, step: int) -> None: ...


@dataclass(frozen=True, slots=True)
class SourceImages:
    """What a run trains on and is scored on.

    loader: goes through an epoch's batches, from where `batches.start` put it. shown: the first few images.
    collection, images: to score an encoder with, in the same order; `bank` and `held_out` index them. Empty without
    labels. description: one line. digest: changes with the images that are trained on; empty for streamed ones, whose
    batches tell for themselves. seen(): (ids, (id, reason) of unreadable ones) of what all processes have gone
    through; all of them must call it.
    """

    batches: Batches
    loader: Iterable[SourceBatch]
    shown: SourceBatch
    collection: Collection
    images: Images
    bank: Sequence[int]
    held_out: Sequence[int]
    skipped: _Skipped
    description: str
    digest: str
    seen: Callable[[], tuple[list[str], _Skipped]]


def cached_sources(
    settings: PretrainSettings, *, process: int, processes: int, progress: Callable[[int, int], None]
) -> SourceImages:
    """Images decoded once into the cache; those held out are not trained on."""
    if settings.batch_size * processes < 2:
        raise UserError("a batch of one source has no negatives: raise --batch-size to at least 2")
    collection, images = prepare_images(settings, seed=settings.seed, progress=progress)
    sources, held_out = hold_out(collection, fraction=settings.held_out, seed=split_seed(settings))
    batches = EpochBatches(
        len(sources),
        batch_size=settings.batch_size,
        process=process,
        processes=processes,
        seed=settings.seed,
    )
    classes = f", classes {', '.join(collection.classes)}" if collection.classes else ", no labels"
    return SourceImages(
        batches=batches,
        loader=source_loader(images, sources, batches, workers=settings.num_workers),
        shown=collate_sources([images[i] for i in sources[:_SHOWN]]),
        collection=collection,
        images=images,
        bank=sources,
        held_out=held_out,
        skipped=images.skipped,
        description=f"{collection.name}, {len(images):,} images{classes}; {len(sources):,} for pre-training, "
        f"{len(held_out):,} held out for evaluation",
        digest=digest_of(collection.records[i].id for i in sources),
        seen=lambda: ([collection.records[i].id for i in sources], images.skipped),
    )


def streamed_sources(
    settings: PretrainSettings, *, process: int, processes: int, progress: Callable[[int, int], None]
) -> SourceImages:
    """Images read where they lie; scored are those of a labelled validation split of modest size, each by its
    neighbours among the others of that split."""
    shards, validation = open_shards(settings.data)
    plan = plan_epoch(
        shards.rows,
        batch_size=settings.batch_size,
        process=process,
        processes=processes,
        readers=max(1, settings.num_workers),
        steps=settings.steps_per_epoch,
    )
    batches = StreamedBatches(
        shards,
        plan,
        batch_size=settings.batch_size,
        block=settings.shuffle_buffer,
        short_side=settings.cache_size,
        process=process,
        workers=settings.num_workers,
        seed=settings.seed,
    )
    collection, images = Collection(settings.data, ()), list[Pixels]()
    if process == 0 and validation is not None:
        collection, images = labelled_images(validation, short_side=settings.image_size, progress=progress)
    bank, held_out = hold_out(collection, fraction=settings.held_out, seed=split_seed(settings))
    scores = f"{len(held_out):,} of {len(images):,} labelled validation images are scored by the others"

    def seen() -> tuple[list[str], _Skipped]:
        parts = gather_object([(batches.seen, batches.skipped)])
        skipped = {name: reason for _, part in parts for name, reason in part.items()}
        return sorted(set().union(*(ids for ids, _ in parts))), list(skipped.items())

    return SourceImages(
        batches=batches,
        loader=batches,
        shown=batches.peek(_SHOWN),
        collection=collection,
        images=images,
        bank=bank,
        held_out=held_out,
        skipped=(),
        description=f"{_described(shards, plan, processes)}; "
        + (scores if held_out else "no labelled validation split of modest size, so no scores"),
        digest="",
        seen=seen,
    )


def _described(shards: ImageShards, plan: Plan, processes: int) -> str:
    images = "images" if plan.sources is None else f"{plan.sources:,} images"
    how = f", each read by all {processes} processes as they do not divide evenly" if plan.divided else ""
    return f"{shards.name}, {images} streamed from {len(shards.rows):,} shards{how}"
