"""Which images a process sees in which step: a pure function of seed, epoch and step."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Sampler

from gravis_triton.data.datasets.records import Collection
from gravis_triton.errors import UserError


class EpochBatches(Sampler[list[int]]):
    """Batches of image indices for one process, every image at most once per epoch over all processes.

    Each epoch is a new permutation; step s takes its s-th chunk of batch_size * processes images, of which every
    process gets an equal part. The last, incomplete chunk is dropped: two copies of an image in one batch would be
    negatives of each other. `start(epoch, step)` goes to any point, so that a resumed run sees the same images.

    groups: a number for each image, the same for images of one lesion or patient, which then are in different steps;
        only a group with more images than the epoch has steps is in some step twice.
    Raises UserError if there are fewer images than one step needs.
    """

    def __init__(
        self,
        images: int,
        *,
        batch_size: int,
        process: int = 0,
        processes: int = 1,
        seed: int = 0,
        groups: NDArray[np.int64] | None = None,
    ) -> None:
        self.images, self.batch_size, self.process, self.processes = images, batch_size, process, processes
        self.seed, self.groups = seed, groups
        if not images:
            raise UserError("no images to train on: all are in the test or the validation split")
        if len(self) == 0:
            most = images // processes
            hint = f"lower --batch-size to at most {most}" if most else f"launch at most {images} processes"
            raise UserError(
                f"{images} images are fewer than one step needs ({batch_size} per process x {processes} "
                f"processes): {hint}"
            )
        self.start(0, 0)

    def __len__(self) -> int:
        """Steps in a whole epoch."""
        return self.images // (self.batch_size * self.processes)

    def start(self, epoch: int, step: int) -> None:
        """The next iteration goes through this epoch, from this step on."""
        self.epoch, self.first = epoch, step

    def __iter__(self) -> Iterator[list[int]]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        per_step = self.batch_size * self.processes
        order = torch.randperm(self.images, generator=generator)[: len(self) * per_step].numpy()
        if self.groups is not None:
            turns = torch.randperm(len(self), generator=generator).numpy()
            order = order[_apart(self.groups[order], turns)]
        steps = order.reshape(len(self), self.processes, self.batch_size)
        yield from steps[self.first :, self.process].tolist()


def group_numbers(collection: Collection) -> NDArray[np.int64]:
    """(records,) the index of the first record of each one's lesion or patient; its own if that is unknown."""
    first: dict[str, int] = {}
    return np.array(
        [
            index if record.group is None else first.setdefault(record.group, index)
            for index, record in enumerate(collection.records)
        ],
        np.int64,
    )


def _apart(groups: NDArray[np.int64], turns: NDArray[np.int64]) -> NDArray[np.int64]:
    """Positions of `groups` in an order whose len(turns) equal steps have no group twice.

    Images with others of their group are dealt to the steps in turn, as cards are, group by group; the rest fill the
    steps in their order. So without any such images the order stays.
    """
    _, first, group, sizes = np.unique(groups, return_index=True, return_inverse=True, return_counts=True)
    dealt = np.flatnonzero(sizes[group] > 1)
    dealt = dealt[np.argsort(first[group[dealt]], kind="stable")]
    step = np.full(len(groups), -1)
    step[dealt] = turns[np.arange(len(dealt)) % len(turns)]
    free = len(groups) // len(turns) - np.bincount(step[dealt], minlength=len(turns))
    step[step < 0] = np.repeat(np.arange(len(turns)), free)
    return np.argsort(step, kind="stable")
