"""One reader's epoch: read its slices in a new order, shuffle within blocks, decode, make batches."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np

from gravis_triton.data.loading.loader import ImageBatch, Pixels, collate_images
from gravis_triton.data.loading.streaming.image_shards import ImageShards, Row
from gravis_triton.data.loading.streaming.plan import ShardSlice
from gravis_triton.errors import UserError


class ReaderState(NamedTuple):
    """How far a reader is in its epoch: enough to resume exactly.

    Block `block` (from 0) begins at row `row` of the reader's `slice_number`-th slice; `taken` of its shuffled rows
    have been used, readable or not. batches: yielded so far.
    """

    slice_number: int = 0
    row: int = 0
    block: int = 0
    taken: int = 0
    batches: int = 0


class ReadBatch(NamedTuple):
    """A batch, with the ids of its images, the (id, reason) of unreadable ones before it, and the state after it."""

    images: ImageBatch
    reader: int
    ids: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...]
    state: ReaderState


@dataclass(frozen=True, slots=True)
class Reader:
    """Yields `batches` batches from its slices; a pure function of its fields and the starting state.

    block: rows that are shuffled together, kept encoded in memory. short_side: of the decoded images, in pixels.
    """

    shards: ImageShards
    slices: tuple[ShardSlice, ...]
    number: int
    process: int
    batches: int
    batch_size: int
    block: int
    short_side: int
    seed: int

    def read(self, epoch: int, state: ReaderState) -> Iterator[ReadBatch]:
        """The batches of an epoch from a state on. Raises UserError if there are too few readable images."""
        images: list[Pixels] = []
        ids: list[str] = []
        skipped: list[tuple[str, str]] = []
        given = state.batches
        rows = self._shuffled(epoch, state)
        while given < self.batches:
            row, after = next(rows, (None, state))
            if row is None:
                raise self._exhausted(given, skipped)
            try:
                images.append(row.pixels(self.short_side))
                ids.append(row.id)
            except (OSError, ValueError) as error:
                skipped.append((row.id, " ".join(str(error).split()) or type(error).__name__))
            if len(images) == self.batch_size:
                given += 1
                yield ReadBatch(
                    collate_images(images),
                    self.number,
                    tuple(ids),
                    tuple(skipped),
                    after._replace(batches=given),
                )
                images, ids, skipped = [], [], []

    def _shuffled(self, epoch: int, state: ReaderState) -> Iterator[tuple[Row, ReaderState]]:
        """Rows in the epoch's order, each with the state after it."""
        order = self._generator(epoch, 0).permutation(len(self.slices))
        rows = _rows(self.shards, [self.slices[i] for i in order], state.slice_number, state.row)
        while block := list(islice(rows, self.block)):
            mixed = self._generator(epoch, 1 + state.block).permutation(len(block))
            for taken in range(state.taken, len(block)):
                state = state._replace(taken=taken + 1)
                yield block[mixed[taken]][0], state
            _, slice_number, row = block[-1]
            state = ReaderState(slice_number, row, state.block + 1)

    def _generator(self, epoch: int, purpose: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, epoch, self.process, self.number, purpose))

    def _exhausted(self, given: int, skipped: Sequence[tuple[str, str]]) -> UserError:
        unreadable = f"; unreadable among the last ones, e.g. {': '.join(skipped[0])}" if skipped else ""
        return UserError(
            f"{self.shards.name}: reader {self.number} of process {self.process} has images for {given} of its "
            f"{self.batches} batches per epoch{unreadable}: lower --steps-per-epoch"
        )


def _rows(
    shards: ImageShards, slices: Sequence[ShardSlice], slice_number: int, row: int
) -> Iterator[tuple[Row, int, int]]:
    """(row, number of its slice, number of the next row in that slice), from `row` of slice `slice_number` on."""
    for number in range(slice_number, len(slices)):
        one = slices[number]
        first = row if number == slice_number else 0
        for index, found in enumerate(shards.read(one.shard, first), first):
            if index >= one.offset and (index - one.offset) % one.stride == 0:
                yield found, number, index + 1
