"""Assign shards to processes, and to the readers (workers) of each process."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gravis_triton.errors import UserError

# Whole shards are assigned only if the smallest part gets at least this share of the mean.
_EVEN = 0.9

# Share of the rows kept out of the plan, to replace images that cannot be decoded.
_SPARE = 0.02


@dataclass(frozen=True, slots=True)
class ShardSlice:
    """Every `stride`-th row of a shard from row `offset` on. shard_rows: of the whole shard, None if unknown."""

    shard: int
    shard_rows: int | None
    offset: int = 0
    stride: int = 1

    @property
    def rows(self) -> int | None:
        return None if self.shard_rows is None else len(range(self.offset, self.shard_rows, self.stride))


def divide(slices: Sequence[ShardSlice], parts: int) -> list[list[ShardSlice]]:
    """Divide slices into parts so that no row is in two parts.

    Whole slices go, the largest first, to the part that has least; if that would leave a part with less than 90% of
    the mean, each part gets every parts-th row of every slice, and so reads all of them.
    """
    known = [one.rows for one in slices if one.rows is not None]
    sizes = known if len(known) == len(slices) else [1] * len(slices)
    loads, dealt = [0] * parts, [[] for _ in range(parts)]  # type: tuple[list[int], list[list[ShardSlice]]]
    for size, one in sorted(zip(sizes, slices, strict=True), key=lambda pair: -pair[0]):
        least = loads.index(min(loads))
        loads[least] += size
        dealt[least].append(one)
    if min(loads) >= _EVEN * sum(sizes) / parts:
        return dealt
    return [
        [
            ShardSlice(
                one.shard,
                one.shard_rows,
                one.offset + one.stride * ((part + number) % parts),
                one.stride * parts,
            )
            for number, one in enumerate(slices)
        ]
        for part in range(parts)
    ]


@dataclass(frozen=True, slots=True)
class Plan:
    """An epoch of one process.

    readers: the slices of each of its readers. batches: how many batches each of them yields.
    schedule: which reader yields the batch of each step; in turn, as long as a reader has batches.
    images: rows of all processes, None if unknown. divided: processes read different rows of the same shards.
    """

    readers: tuple[tuple[ShardSlice, ...], ...]
    schedule: tuple[int, ...]
    images: int | None
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
    steps: int | None = None,
) -> Plan:
    """The plan of `process`, from the rows of each shard; all processes have the same number of steps.

    readers: per process. steps: per epoch; default: as many as the rows allow, less 2% spares for images that
    cannot be decoded.
    Raises UserError if the number of steps is neither given nor known, or is more than the rows allow.
    """
    if batch_size * processes < 2:
        raise UserError("a batch of one image has no negatives: raise --batch-size to at least 2")
    parts = divide([ShardSlice(shard, count) for shard, count in enumerate(rows)], processes)
    all_readers = [divide(part, readers) for part in parts]
    if any(count is None for count in rows):
        if steps is None:
            raise UserError(
                "the number of images in the shards is unknown: give --steps-per-epoch "
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
                f"{total} images in {len(rows)} shards are fewer than one step needs ({batch_size} for each of "
                f"{readers} workers in {processes} processes, and 2% spares): lower --batch-size or --num-workers"
            )
        if steps is not None and steps > most:
            raise UserError(f"--steps-per-epoch {steps}: {total} images give at most {most} steps")
        steps = steps or most
    return Plan(
        readers=tuple(map(tuple, all_readers[process])),
        schedule=_in_turn(batches[process], steps),
        images=total,
        divided=any(one.stride > 1 for one in parts[0]),
    )


def _batches(slices: Sequence[ShardSlice], batch_size: int, spare: float) -> int:
    rows = sum(one.rows or 0 for one in slices)
    return (rows - math.ceil(spare * rows)) // batch_size


def _in_turn(batches: Sequence[int], steps: int) -> tuple[int, ...]:
    turns = [
        reader for turn in range(max(batches)) for reader in range(len(batches)) if turn < batches[reader]
    ]
    return tuple(turns[:steps])
