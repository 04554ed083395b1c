"""Batches of streamed images for one process, resumable at any step."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from accelerate.utils import gather_object
from torch.utils.data import IterableDataset, get_worker_info

from gravis_triton.data.loading.loader import ImageBatch, Loader
from gravis_triton.data.loading.streaming.image_shards import ImageShards
from gravis_triton.data.loading.streaming.plan import Plan
from gravis_triton.data.loading.streaming.reader import ReadBatch, Reader, ReaderState
from gravis_triton.errors import UserError


class StreamedBatches:
    """Iterate over the `ImageBatch`es of an epoch of one process: every image at most once over all processes.

    Shards come in a different order every epoch, and rows are shuffled within blocks of `block` consecutive ones.
    `start(epoch, step)` goes to the beginning of an epoch, or to where `state_dict` was taken; resuming there rereads
    at most one shard and one block per reader, and decodes nothing twice.

    workers: 0 runs the only reader in this process; otherwise each reader of the plan is a process.
    short_side: of the decoded images, in pixels.
    seen: ids of the images yielded so far. skipped: id -> reason of those that could not be decoded.
    """

    def __init__(
        self,
        shards: ImageShards,
        plan: Plan,
        *,
        batch_size: int,
        block: int,
        short_side: int,
        process: int = 0,
        workers: int = 0,
        seed: int = 0,
    ) -> None:
        self.plan, self.batch_size, self.workers, self.process = plan, batch_size, workers, process
        self.images = plan.images or len(plan.schedule) * batch_size
        self.readers = [
            Reader(shards, slices, number, process, count, batch_size, block, short_side, seed)
            for number, (slices, count) in enumerate(zip(plan.readers, plan.batches, strict=True))
        ]
        self.seen: set[str] = set()
        self.skipped: dict[str, str] = {}
        self._epoch, self._step, self._states = 0, 0, [ReaderState()] * len(self.readers)

    def __len__(self) -> int:
        """Steps in a whole epoch."""
        return len(self.plan.schedule)

    def start(self, epoch: int, step: int) -> None:
        """The next iteration goes through this epoch, from this step on."""
        if step == 0:
            self._epoch, self._step, self._states = epoch, 0, [ReaderState()] * len(self.readers)
        elif (epoch, step) != (self._epoch, self._step):
            raise ValueError(f"epoch {epoch}, step {step} is neither an epoch's start nor the current step")

    def __iter__(self) -> Iterator[ImageBatch]:
        turns = self.plan.schedule[self._step :]
        loader = Loader[ReadBatch | UserError](
            _InTurn(self.readers, list(dict.fromkeys(turns)), self._epoch, list(self._states)),
            batch_size=None,
            num_workers=len(set(turns)) if self.workers else 0,
            pin_memory=torch.cuda.is_available(),
        )
        for turn, read in zip(turns, loader, strict=True):
            if isinstance(read, UserError):
                raise read
            if read.reader != turn:
                raise RuntimeError(f"reader {read.reader} gave the batch of reader {turn}")
            self._states[turn] = read.state
            self._step += 1
            self.seen.update(read.ids)
            self.skipped.update(read.skipped)
            yield read.images

    def peek(self, images: int) -> ImageBatch:
        """The first images of the first epoch, without advancing."""
        first = replace(self.readers[0], batches=1, batch_size=min(images, self.batch_size))
        return next(first.read(0, ReaderState())).images

    def state_dict(self) -> dict[str, Any]:
        """Positions of the readers of all processes; all of them must call it, as `accelerator.save_state` does."""
        own = {
            "epoch": self._epoch,
            "step": self._step,
            "states": [tuple(state) for state in self._states],
            "seen": sorted(self.seen),
            "skipped": self.skipped,
        }
        return {"settings": self._settings(), "processes": gather_object([own])}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to where `state_dict` was taken. Raises UserError if that run read the images differently."""
        for name, now in self._settings().items():
            if state["settings"][name] != now:
                raise UserError(
                    f"the checkpoint was written with {name} {state['settings'][name]}, this run has {now}: "
                    "launch it the same way"
                )
        own = state["processes"][self.process]
        self._epoch, self._step = own["epoch"], own["step"]
        self._states = [ReaderState(*state) for state in own["states"]]
        self.seen, self.skipped = set(own["seen"]), dict(own["skipped"])

    def _settings(self) -> dict[str, int | str]:
        reader = self.readers[0]
        return {
            "readers per process": len(self.readers),
            "--batch-size": self.batch_size,
            "--shuffle-buffer": reader.block,
            "--seed": reader.seed,
            "--data": reader.shards.name,
        }


class _InTurn(IterableDataset[ReadBatch | UserError]):
    """Runs reader `turns[i]` in worker i. Errors are yielded: a DataLoader would bury their message in a traceback."""

    def __init__(
        self, readers: list[Reader], turns: list[int], epoch: int, states: list[ReaderState]
    ) -> None:
        self.readers, self.turns, self.epoch, self.states = readers, turns, epoch, states

    def __iter__(self) -> Iterator[ReadBatch | UserError]:
        worker = get_worker_info()
        if not self.turns:
            return
        turn = self.turns[worker.id if worker else 0]
        try:
            yield from self.readers[turn].read(self.epoch, self.states[turn])
        except UserError as error:
            yield error
