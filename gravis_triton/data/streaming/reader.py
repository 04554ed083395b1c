"""What one reader does in an epoch: read its pieces in a new order, shuffle by blocks, decode, make batches."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np

from gravis_triton.data.loader import Pixels, SourceBatch, collate_sources
from gravis_triton.data.streaming.plan import Piece
from gravis_triton.data.streaming.shards import ImageShards, Row
from gravis_triton.errors import UserError


class Place(NamedTuple):
    """How far a reader is in its epoch; all that reading on exactly takes.

    The block `block` (from 0) begins at row `row` of the reader's `piece`-th piece; `taken` of its shuffled rows are
    used up, readable or not. batches: given so far.
    """

    piece: int = 0
    row: int = 0
    block: int = 0
    taken: int = 0
    batches: int = 0


class ReadBatch(NamedTuple):
    """A batch, with the ids of its images, the (id, reason) of unreadable ones before it, and the place after it."""

    sources: SourceBatch
    reader: int
    ids: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...]
    place: Place


@dataclass(frozen=True, slots=True)
class Reader:
    """Gives `batches` batches from its pieces; a pure function of its fields and the place where it starts.

    block: rows that are shuffled together, kept encoded in memory. short_side: of the decoded images, in pixels.
    """

    shards: ImageShards
    pieces: tuple[Piece, ...]
    number: int
    process: int
    batches: int
    batch_size: int
    block: int
    short_side: int
    seed: int

    def read(self, epoch: int, place: Place) -> Iterator[ReadBatch]:
        """The batches of an epoch from a place on. Raises UserError when the readable images do not last."""
        images: list[Pixels] = []
        ids: list[str] = []
        skipped: list[tuple[str, str]] = []
        given = place.batches
        rows = self._shuffled(epoch, place)
        while given < self.batches:
            row, after = next(rows, (None, place))
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
                    collate_sources(images),
                    self.number,
                    tuple(ids),
                    tuple(skipped),
                    after._replace(batches=given),
                )
                images, ids, skipped = [], [], []

    def _shuffled(self, epoch: int, place: Place) -> Iterator[tuple[Row, Place]]:
        """Rows in the epoch's order, each with the place after it."""
        order = self._generator(epoch, 0).permutation(len(self.pieces))
        rows = _rows(self.shards, [self.pieces[i] for i in order], place.piece, place.row)
        while block := list(islice(rows, self.block)):
            mixed = self._generator(epoch, 1 + place.block).permutation(len(block))
            for taken in range(place.taken, len(block)):
                place = place._replace(taken=taken + 1)
                yield block[mixed[taken]][0], place
            _, piece, row = block[-1]
            place = Place(piece, row, place.block + 1)

    def _generator(self, epoch: int, purpose: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, epoch, self.process, self.number, purpose))

    def _exhausted(self, given: int, skipped: Sequence[tuple[str, str]]) -> UserError:
        unreadable = f"; unreadable among the last, e.g. {': '.join(skipped[0])}" if skipped else ""
        return UserError(
            f"{self.shards.name}: reader {self.number} of process {self.process} has images for {given} of its "
            f"{self.batches} batches an epoch{unreadable}: lower --steps-per-epoch"
        )


def _rows(
    shards: ImageShards, pieces: Sequence[Piece], piece: int, row: int
) -> Iterator[tuple[Row, int, int]]:
    """(row, number of its piece, number of the next row in the piece) from a row of a piece on."""
    for number in range(piece, len(pieces)):
        one = pieces[number]
        first = row if number == piece else 0
        for index, found in enumerate(shards.read(one.shard, first), first):
            if index >= one.offset and (index - one.offset) % one.stride == 0:
                yield found, number, index + 1
