"""Who reads what: the shards of a data set, dealt to processes and to the readers (workers) of each."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gravis_triton.errors import UserError

# Whole shards are dealt out only if the one who gets least gets at least this share of the mean.
_EVEN = 0.9

# Share of the rows that is planned for no batch: they stand in for images that cannot be decoded.
_SPARE = 0.02


@dataclass(frozen=True, slots=True)
class Piece:
    """Every `stride`-th row of a shard from row `offset` on. shard_rows: of the whole shard, None if not known."""

    shard: int
    shard_rows: int | None
    offset: int = 0
    stride: int = 1

    @property
    def rows(self) -> int | None:
        return None if self.shard_rows is None else len(range(self.offset, self.shard_rows, self.stride))


def divide(pieces: Sequence[Piece], parts: int) -> list[list[Piece]]:
    """Deal out pieces so that no row is in two parts.

    Whole pieces, the largest first, each to the part that has least; where that would leave a part with less than 90 %
    of the mean, each part gets every parts-th row of every piece, and so reads all of them.
    """
    sizes = [1 if piece.rows is None else piece.rows for piece in pieces]
    if any(piece.rows is None for piece in pieces):
        sizes = [1] * len(pieces)
    loads, dealt = [0] * parts, [[] for _ in range(parts)]  # type: tuple[list[int], list[list[Piece]]]
    for size, piece in sorted(zip(sizes, pieces, strict=True), key=lambda pair: -pair[0]):
        least = loads.index(min(loads))
        loads[least] += size
        dealt[least].append(piece)
    if min(loads) >= _EVEN * sum(sizes) / parts:
        return dealt
    return [
        [
            Piece(
                piece.shard,
                piece.shard_rows,
                piece.offset + piece.stride * ((part + number) % parts),
                piece.stride * parts,
            )
            for number, piece in enumerate(pieces)
        ]
        for part in range(parts)
    ]


@dataclass(frozen=True, slots=True)
class Plan:
    """An epoch of one process.

    readers: the pieces of each of its readers. batches: how many batches each of them gives.
    schedule: which reader gives the batch of each step; in turn, for as long as a reader has batches.
    sources: rows of all processes together, None if not known. divided: processes read the same shards, other rows.
    """

    readers: tuple[tuple[Piece, ...], ...]
    schedule: tuple[int, ...]
    sources: int | None
    divided: bool

    @property
    def batches(self) -> tuple[int, ...]:
        return tuple(self.schedule.count(reader) for reader in range(len(self.readers)))


def plan_epoch(
    rows: Sequence[int | None],
    *,
    batch_size: int,
    process: int,
    processes: int,
    readers: int,
    steps: int = 0,
) -> Plan:
    """The plan of `process`, from the rows of each shard; all processes have the same number of steps.

    readers: of each process. steps: of an epoch; 0: as many as the rows give, less 2 % of them as spares for images
    that cannot be decoded.
    Raises UserError where the number of steps is neither given nor known, or is more than the rows can give.
    """
    if batch_size * processes < 2:
        raise UserError("a batch of one source has no negatives: raise --batch-size to at least 2")
    parts = divide([Piece(shard, count) for shard, count in enumerate(rows)], processes)
    all_readers = [divide(part, readers) for part in parts]
    if any(count is None for count in rows):
        if steps == 0:
            raise UserError(
                "the shards do not tell how many images they hold: give --steps-per-epoch "
                "(images / --batch-size / processes)"
            )
        batches = [[-(-(steps - reader) // readers) for reader in range(readers)]] * processes
        total = None
    else:
        spare = 0.0 if steps else _SPARE
        batches = [[_batches(part, batch_size, spare) for part in process] for process in all_readers]
        total = sum(count for count in rows if count is not None)
        most = min(map(sum, batches))
        if most == 0:
            raise UserError(
                f"{total} source images in {len(rows)} shards are fewer than one step needs ({batch_size} for each of "
                f"{readers} workers in {processes} processes, and 2 % spares): lower --batch-size or --num-workers"
            )
        if steps > most:
            raise UserError(f"--steps-per-epoch {steps}: {total} source images give at most {most} steps")
        steps = steps or most
    return Plan(
        readers=tuple(map(tuple, all_readers[process])),
        schedule=_in_turn(batches[process], steps),
        sources=total,
        divided=any(piece.stride > 1 for piece in parts[0]),
    )


def _batches(pieces: Sequence[Piece], batch_size: int, spare: float) -> int:
    rows = sum(piece.rows or 0 for piece in pieces)
    return (rows - math.ceil(spare * rows)) // batch_size


def _in_turn(batches: Sequence[int], steps: int) -> tuple[int, ...]:
    turns = [
        reader for turn in range(max(batches)) for reader in range(len(batches)) if turn < batches[reader]
    ]
    return tuple(turns[:steps])
