"""Batches of images that are read from shards, resumable at any step."""

import math
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

import numpy as np
from accelerate.utils import gather_object
from torch.utils.data import BatchSampler

from gravis_triton.data.cache.store import Pixels
from gravis_triton.data.loading.loader import DecodedBatch, ImageBatch, collate_images, decoded_loader
from gravis_triton.data.loading.shards import EncodedImage, ImageShards
from gravis_triton.errors import UserError
from gravis_triton.settings.jobs import PretrainSettings

# Processes read whole shards only if the one with the fewest images still gets this share of the mean.
_EVEN = 0.9

# Share of the images that an epoch leaves out, to replace those that cannot be decoded.
_SPARE = 0.02

Item = TypeVar("Item")


class RowName(NamedTuple):
    """Where a row is in its process's epoch, which is read in blocks: `row` counts the shuffled rows of a block;
    position: of the data before the block."""

    block: int
    row: int
    position: Any
    id: str


class StreamedBatches:
    """Iterate over the `ImageBatch`es of an epoch of one process: every image at most once over all processes.

    `datasets` reads the shards, in another order every epoch, and deals them out to the processes; blocks of `buffer`
    consecutive images are shuffled. `start(epoch, step)` goes to the beginning of an epoch, or to where `state_dict`
    was taken; resuming there rereads at most one block, and decodes nothing twice.

    The images do not depend on the number of workers, which only decode. seen: ids of the images yielded so far.
    skipped: id -> reason of those that could not be decoded. Raises UserError as `plan_steps` does.
    """

    def __init__(
        self, shards: ImageShards, settings: PretrainSettings, *, process: int = 0, processes: int = 1
    ) -> None:
        from datasets.distributed import split_dataset_by_node

        self.shards, self.settings, self.process = shards, settings, process
        self.batch_size = settings.batch_size
        self.steps = plan_steps(shards.rows, self.batch_size, processes, settings.steps_per_epoch)
        self.images = sum(filter(None, shards.rows)) or self.steps * self.batch_size * processes
        strategy, _ = smallest_share(shards.rows, processes)
        self.data = split_dataset_by_node(shards.data, process, processes, strategy=strategy)
        self.seen: set[str] = set()
        self.skipped: dict[str, str] = {}
        self.start(0, 0)

    def __len__(self) -> int:
        """Steps in a whole epoch."""
        return self.steps

    def start(self, epoch: int, step: int) -> None:
        """The next iteration goes through this epoch, from this step on."""
        if step == 0:
            self._epoch, self._step, self._block, self._row, self._position = epoch, 0, 0, 0, None
        elif (epoch, step) != (self._epoch, self._step):
            raise ValueError(f"epoch {epoch}, step {step} is neither an epoch's start nor the current step")

    def __iter__(self) -> Iterator[ImageBatch]:
        loader = self._decoded(BatchSampler(self._rows(), self.batch_size, drop_last=False))  # type: ignore[arg-type]
        for names, images in self._filled(loader):
            last = names[-1]
            self._step, self._block, self._row, self._position = self._step + 1, last.block, last.row + 1, last.position
            self.seen.update(name.id for name in names)
            yield images
            if self._step == self.steps:
                return
        unreadable = f"; unreadable, e.g. {': '.join(next(iter(self.skipped.items())))}" if self.skipped else ""
        raise UserError(
            f"{self.shards.name}: process {self.process} has images for {self._step} of the {self.steps} steps of an "
            f"epoch{unreadable}: lower --steps-per-epoch"
        )

    def _rows(self) -> Iterator[tuple[RowName, EncodedImage]]:
        """The rest of the epoch's rows in their shuffled order."""
        first, taken = self._block, self._row  # both advance as batches are yielded
        for number, (position, rows) in enumerate(ahead(self._blocks()), first):
            generator = np.random.default_rng((self.settings.seed, self._epoch, self.process, number))
            order = generator.permutation(len(rows)).tolist()
            for row in range(taken if number == first else 0, len(rows)):
                name, image = self.shards.image(rows[order[row]])
                yield RowName(number, row, position, name), image

    def _blocks(self) -> Iterator[tuple[Any, list[dict[str, Any]]]]:
        """The rest of the epoch's blocks, each with the position of the data before it."""
        position = self._position
        # shards are shuffled by the number of the epoch, if that is not 0
        self.data.set_epoch(1 + int(np.random.default_rng((self.settings.seed, self._epoch)).integers(2**31)))
        self.data.load_state_dict(position)
        for rows in self.shards.blocks(self.data, self.settings.shuffle_buffer):
            yield position, rows
            position = self.data.state_dict()

    def _filled(
        self, loader: Iterable[DecodedBatch[RowName, ImageBatch]]
    ) -> Iterator[tuple[list[RowName], ImageBatch]]:
        """Full batches with the names of their images: those short of unreadable images are filled from the next."""
        names: list[RowName] = []
        images: list[Pixels] = []
        for batch in loader:
            self.skipped.update((name.id, reason) for name, reason in batch.skipped)
            if not names and batch.images is not None and len(batch.names) == self.batch_size:
                yield batch.names, batch.images
            elif batch.images is not None:
                names += batch.names
                images += batch.images.unpadded()
                if len(names) >= self.batch_size:
                    yield names[: self.batch_size], collate_images(images[: self.batch_size])
                    del names[: self.batch_size], images[: self.batch_size]

    def peek(self, images: int) -> ImageBatch:
        """The first `images` images of the first shard, less unreadable ones, without advancing."""
        blocks = self.shards.blocks(self.shards.data, images)
        for batch in self._decoded(map(self.shards.image, rows) for rows in blocks):
            if batch.images is not None:
                return batch.images
        raise UserError(f"{self.shards.name}: no image can be decoded")

    def _decoded(self, batches: Iterable[Any]) -> Iterable[DecodedBatch[Any, ImageBatch]]:
        short_side, workers = self.settings.short_side, self.settings.workers
        return decoded_loader(batches, short_side=short_side, collate=collate_images, workers=workers)

    def state_dict(self) -> dict[str, Any]:
        """Where all processes are in the epoch; all of them must call it, as `accelerator.save_state` does."""
        own = {
            "epoch": self._epoch,
            "step": self._step,
            "block": self._block,
            "row": self._row,
            "position": self._position,
            "seen": sorted(self.seen),
            "skipped": self.skipped,
        }
        return {"processes": gather_object([own])}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to where `state_dict` was taken by a run with the same shards, buffer, seed and number of processes."""
        own = state["processes"][self.process]
        self._epoch, self._step, self._block, self._row = (own[n] for n in ("epoch", "step", "block", "row"))
        self._position = own["position"]
        self.seen, self.skipped = set(own["seen"]), dict(own["skipped"])


def plan_steps(rows: Sequence[int | None], batch_size: int, processes: int, steps: int | None = None) -> int:
    """Steps of an epoch, the same in all processes, from the rows of each shard.

    steps: as asked for; default: as many as the process with the fewest images allows, less 2% spares for images that
    cannot be decoded.
    Raises UserError if the number of steps is neither given nor known, or is more than the rows allow.
    """
    if batch_size * processes < 2:
        raise UserError("a batch of one image has no negatives: raise --batch-size to at least 2")
    if None in rows:
        if steps is None:
            raise UserError(
                "the number of images in the shards is unknown: give --steps-per-epoch "
                "(images / --batch-size / processes)"
            )
        return steps
    _, least = smallest_share(rows, processes)
    most = (least - (0 if steps else math.ceil(_SPARE * least))) // batch_size
    images = sum(filter(None, rows))
    if most == 0:
        raise UserError(
            f"{images} images in {len(rows)} shards are fewer than one step needs ({batch_size} for each of "
            f"{processes} processes, and 2% spares): lower --batch-size"
        )
    if steps is not None and steps > most:
        raise UserError(f"--steps-per-epoch {steps}: {images} images give at most {most} steps")
    return steps or most


def smallest_share(rows: Sequence[int | None], processes: int) -> tuple[str, int]:
    """What the processes divide, "shards" if that is even, else the "examples" of each; and the images of the process
    with the fewest. An unknown shard counts as one image."""
    sizes = [1 if None in rows else count or 0 for count in rows]
    least = sum(sorted(sizes)[: len(rows) // processes])
    if len(rows) % processes == 0 and least >= _EVEN * sum(sizes) / processes:
        return "shards", least
    return "examples", sum(sizes) // processes


def ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The items; a thread fetches the next one while one is in use."""
    with ThreadPoolExecutor(1) as thread:
        fetched = thread.submit(next, items, None)
        while (item := fetched.result()) is not None:
            fetched = thread.submit(next, items, None)
            yield item
