"""Batches of images that are read from shards, resumable at any step."""

import math
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, NamedTuple, TypeVar

import numpy as np
from accelerate.utils import gather_object

from gravis_triton.data.cache.store import Pixels
from gravis_triton.data.loading.loader import DecodedBatch, ImageBatch, collate_images, decoded_loader
from gravis_triton.data.loading.shards import EncodedImage, ImageShards
from gravis_triton.errors import UserError

# Processes read whole shards only if the one with the fewest images still gets this share of the mean.
_EVEN = 0.9

# Share of the images that an epoch leaves out, to replace those that cannot be decoded.
_SPARE = 0.02

Item = TypeVar("Item")


class RowName(NamedTuple):
    """Where a row is in its process's epoch, which is read in blocks: `row` counts the shuffled rows of a block."""

    block: int
    row: int
    id: str


class StreamedBatches:
    """Iterate over the `ImageBatch`es of an epoch of one process: every image at most once over all processes.

    `datasets` reads the shards, in another order every epoch, and deals them out to the processes; blocks of `buffer`
    consecutive images are shuffled. `start(epoch, step)` goes to the beginning of an epoch, or to where `state_dict`
    was taken; resuming there rereads at most one block, and decodes nothing twice.

    steps: of an epoch. workers: processes that decode; the images do not depend on them. short_side: of the decoded
    images, in pixels. seen: ids of the images yielded so far. skipped: id -> reason of those that could not be decoded.
    """

    def __init__(
        self,
        shards: ImageShards,
        *,
        steps: int,
        batch_size: int,
        buffer: int,
        short_side: int,
        process: int = 0,
        processes: int = 1,
        workers: int = 0,
        seed: int = 0,
    ) -> None:
        from datasets.distributed import split_dataset_by_node

        how = "shards" if are_even(shards.rows, processes) else "examples"
        self.data = split_dataset_by_node(shards.data, process, processes, strategy=how)
        self.shards, self.steps, self.batch_size, self.buffer = shards, steps, batch_size, buffer
        self.short_side, self.process, self.workers, self.seed = short_side, process, workers, seed
        self.images = sum(filter(None, shards.rows)) or steps * batch_size * processes
        self.seen: set[str] = set()
        self.skipped: dict[str, str] = {}
        self._begin(0)

    def _begin(self, epoch: int) -> None:
        self._epoch, self._step, self._block, self._row = epoch, 0, 0, 0
        self._positions: dict[int, Any] = {0: None}  # of the data, before each block that is in use

    def __len__(self) -> int:
        """Steps in a whole epoch."""
        return self.steps

    def start(self, epoch: int, step: int) -> None:
        """The next iteration goes through this epoch, from this step on."""
        if step == 0:
            self._begin(epoch)
        elif (epoch, step) != (self._epoch, self._step):
            raise ValueError(f"epoch {epoch}, step {step} is neither an epoch's start nor the current step")

    def __iter__(self) -> Iterator[ImageBatch]:
        loader = decoded_loader(
            in_lists(self._rows(), self.batch_size),
            short_side=self.short_side,
            collate=collate_images,
            workers=self.workers,
        )
        for names, images in self._filled(loader):
            self._step, self._block, self._row = self._step + 1, names[-1].block, names[-1].row + 1
            self._positions = {b: p for b, p in self._positions.items() if b >= self._block}
            self.seen.update(name.id for name in names)
            yield images
            if self._step == self.steps:
                return
        unreadable = (
            f"; unreadable, e.g. {': '.join(next(iter(self.skipped.items())))}" if self.skipped else ""
        )
        raise UserError(
            f"{self.shards.name}: process {self.process} has images for {self._step} of the {self.steps} steps of an "
            f"epoch{unreadable}: lower --steps-per-epoch"
        )

    def _rows(self) -> Iterator[tuple[RowName, EncodedImage]]:
        """The rest of the epoch's rows in their shuffled order."""
        first, taken = self._block, self._row  # both advance as batches are yielded
        for number, (position, rows) in enumerate(ahead(self._blocks()), first):
            self._positions[number] = position
            generator = np.random.default_rng((self.seed, self._epoch, self.process, number))
            order = generator.permutation(len(rows)).tolist()
            for row in range(taken if number == first else 0, len(rows)):
                name, image = self.shards.image(rows[order[row]])
                yield RowName(number, row, name), image

    def _blocks(self) -> Iterator[tuple[Any, list[dict[str, Any]]]]:
        """The rest of the epoch's blocks, each with the position of the data before it."""
        position = self._positions[self._block]
        # shards are shuffled by the number of the epoch, if that is not 0
        self.data.set_epoch(1 + int(np.random.default_rng((self.seed, self._epoch)).integers(2**31)))
        self.data.load_state_dict(position)
        for rows in self.shards.blocks(self.data, self.buffer):
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
        batches = ([self.shards.image(row) for row in rows] for rows in blocks)
        loader = decoded_loader(batches, short_side=self.short_side, collate=collate_images, workers=0)
        for batch in loader:
            if batch.images is not None:
                return batch.images
        raise UserError(f"{self.shards.name}: no image can be decoded")

    def state_dict(self) -> dict[str, Any]:
        """Where all processes are in the epoch; all of them must call it, as `accelerator.save_state` does."""
        own = {
            "epoch": self._epoch,
            "step": self._step,
            "block": self._block,
            "row": self._row,
            "position": self._positions[self._block],
            "seen": sorted(self.seen),
            "skipped": self.skipped,
        }
        return {"processes": gather_object([own])}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to where `state_dict` was taken by a run with the same shards, buffer, seed and number of processes."""
        own = state["processes"][self.process]
        self._epoch, self._step, self._block, self._row = (own[n] for n in ("epoch", "step", "block", "row"))
        self._positions = {self._block: own["position"]}
        self.seen, self.skipped = set(own["seen"]), dict(own["skipped"])


def plan_steps(
    rows: Sequence[int | None], *, batch_size: int, processes: int, steps: int | None = None
) -> int:
    """Steps of an epoch, the same in all processes, from the rows of each shard.

    steps: as asked for; default: as many as the process with the fewest images allows, less 2% spares for images that
    cannot be decoded.
    Raises UserError if the number of steps is neither given nor known, or is more than the rows allow.
    """
    if batch_size * processes < 2:
        raise UserError("a batch of one image has no negatives: raise --batch-size to at least 2")
    known = [count for count in rows if count is not None]
    if len(known) < len(rows):
        if steps is None:
            raise UserError(
                "the number of images in the shards is unknown: give --steps-per-epoch "
                "(images / --batch-size / processes)"
            )
        return steps
    whole = are_even(rows, processes)
    least = sum(sorted(known)[: len(rows) // processes]) if whole else sum(known) // processes
    most = (least - (0 if steps else math.ceil(_SPARE * least))) // batch_size
    if most == 0:
        raise UserError(
            f"{sum(known)} images in {len(rows)} shards are fewer than one step needs ({batch_size} for each of "
            f"{processes} processes, and 2% spares): lower --batch-size"
        )
    if steps is not None and steps > most:
        raise UserError(f"--steps-per-epoch {steps}: {sum(known)} images give at most {most} steps")
    return steps or most


def are_even(rows: Sequence[int | None], processes: int) -> bool:
    """Whether each process can read whole shards; otherwise all read every shard and keep a part of its images."""
    if len(rows) % processes:
        return False
    known = [count for count in rows if count is not None]
    least = sum(sorted(known)[: len(rows) // processes])
    return len(known) < len(rows) or least >= _EVEN * sum(known) / processes


def in_lists(items: Iterator[Item], size: int) -> Iterator[list[Item]]:
    """Lists of `size` consecutive items; the last may be shorter."""
    while some := list(islice(items, size)):
        yield some


def ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The items; a thread fetches the next one while one is in use."""
    with ThreadPoolExecutor(1) as thread:
        fetched = thread.submit(next, items, None)
        while (item := fetched.result()) is not None:
            fetched = thread.submit(next, items, None)
            yield item
