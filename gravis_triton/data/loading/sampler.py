"""Which images a process sees in which step: a pure function of seed, epoch and step."""

from collections.abc import Iterator

import torch
from torch.utils.data import Sampler

from gravis_triton.errors import UserError


class EpochBatches(Sampler[list[int]]):
    """Batches of image indices for one process, every image at most once per epoch over all processes.

    Each epoch is a new permutation; step s takes its s-th chunk of batch_size * processes images, of which every
    process gets an equal part. The last, incomplete chunk is dropped: two copies of an image in one batch would be
    negatives of each other. `start(epoch, step)` goes to any point, so that a resumed run sees the same images.

    Raises UserError if there are fewer images than one step needs.
    """

    def __init__(
        self, images: int, *, batch_size: int, process: int = 0, processes: int = 1, seed: int = 0
    ) -> None:
        self.images, self.batch_size, self.process, self.processes, self.seed = (
            images,
            batch_size,
            process,
            processes,
            seed,
        )
        if len(self) == 0:
            most = images // processes
            way_out = (
                f"lower --batch-size to at most {most}" if most else f"launch at most {images} processes"
            )
            raise UserError(
                f"{images} images are fewer than one step needs ({batch_size} per process x {processes} "
                f"processes): {way_out}"
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
        order = torch.randperm(self.images, generator=generator)[
            : len(self) * self.batch_size * self.processes
        ]
        mine = order.view(len(self), self.processes, self.batch_size)[self.first :, self.process]
        yield from mine.tolist()
