"""The training loop of pre-training: one epoch at a time."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from accelerate import Accelerator
from timm.scheduler.scheduler import Scheduler
from torch import Tensor, nn
from torch.utils.data import DataLoader

from gravis_triton.augment import ViewMaker
from gravis_triton.data.loader import SourceBatch
from gravis_triton.data.sampler import EpochBatches
from gravis_triton.errors import UserError
from gravis_triton.losses import Objective, grouping_statistics
from gravis_triton.settings import PretrainSettings
from gravis_triton.training.checkpoint import Progress
from gravis_triton.training.interrupt import StopRequest
from gravis_triton.training.metrics import StepMetrics
from gravis_triton.training.step import backward


@dataclass(frozen=True, slots=True)
class Training:
    """Everything that takes part in a step; model and optimizer as `accelerator.prepare` gave them."""

    accelerator: Accelerator
    batches: EpochBatches
    loader: DataLoader[SourceBatch]
    views: ViewMaker
    model: nn.Module
    objective: Objective
    optimizer: torch.optim.Optimizer
    scheduler: Scheduler


def train_epoch(
    training: Training,
    settings: PretrainSettings,
    progress: Progress,
    last_step: int,
    stop: StopRequest,
    report: Callable[[StepMetrics], None],
) -> bool:
    """Train from `progress.step` to the end of its epoch or to `last_step`, updating `progress`.

    Returns True if it ended early because a signal asked any process to stop; so do then all of them.

    Everything random in a step follows from (seed, step, process), so a resumed run repeats it exactly.
    Raises UserError when the loss is no longer finite.
    """
    t, accelerator = training, training.accelerator
    epoch, first = divmod(progress.step, progress.steps_per_epoch)
    t.batches.start(epoch, first)
    t.model.train()
    window = _Window(accelerator.device)
    for batch in t.loader:
        window.data_arrived()
        seed_step(settings.seed, progress.step, accelerator.process_index)
        t.scheduler.step_update(progress.step)
        images, extents = (part.to(accelerator.device, non_blocking=True) for part in batch)
        views = t.views(images, extents)
        if settings.channels_last:
            views = (
                views.flatten(0, 1)
                .contiguous(memory_format=torch.channels_last)
                .unflatten(0, views.shape[:2])
            )
        loss, embeddings = backward(t.model, views, t.objective, accelerator, settings.grad_cache_chunk)
        t.optimizer.step()
        t.optimizer.zero_grad()
        progress.step += 1
        window.step_done(loss, len(images))
        ended = progress.step == last_step or progress.step % progress.steps_per_epoch == 0
        if ended or progress.step % settings.log_every == 0 or (accelerator.num_processes == 1 and stop):
            report(_step_metrics(training, settings.epochs, progress, epoch, window, embeddings))
            progress.seconds += window.seconds
            window = _Window(accelerator.device)
            if _any_process(accelerator, bool(stop)):
                return True
        if ended:
            break
    return False


def seed_step(seed: int, step: int, process: int) -> None:
    """Put the random generators of every device where a step of a process begins."""
    state = np.random.SeedSequence((seed, step, process)).generate_state(1, np.uint64)[0]
    torch.manual_seed(int(state >> 1))


class _Window:
    """Sums over the steps since the last metrics."""

    def __init__(self, device: torch.device) -> None:
        self.start = self.mark = time.perf_counter()
        self.waited, self.steps, self.images = 0.0, 0, 0
        self.loss = torch.zeros((), device=device)

    def data_arrived(self) -> None:
        self.waited += time.perf_counter() - self.mark

    def step_done(self, loss: Tensor, images: int) -> None:
        self.loss += loss
        self.steps += 1
        self.images += images
        self.mark = time.perf_counter()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.start


def _step_metrics(
    training: Training, epochs: int, progress: Progress, epoch: int, window: _Window, embeddings: Tensor
) -> StepMetrics:
    loss = window.loss.item() / window.steps
    if not math.isfinite(loss):
        raise UserError(
            f"the loss is {loss} at step {progress.step}: lower --lr, or train with --mixed-precision bf16 or no; "
            "the last checkpoint is from before"
        )
    seconds, processes = window.seconds, training.accelerator.num_processes
    grouping = grouping_statistics(embeddings, training.objective.settings)
    return StepMetrics(
        step=progress.step,
        epoch=epoch + 1,
        epochs=epochs,
        loss=loss,
        lr=training.optimizer.param_groups[0]["lr"],
        images_per_second=window.images * processes / seconds,
        views_per_second=window.images * processes * training.views.views / seconds,
        waiting=window.waited / seconds,
        positive_similarity=grouping.positive_similarity,
        negative_similarity=grouping.negative_similarity,
        violated=grouping.violated,
        attention_entropy=grouping.attention_entropy,
    )


def _any_process(accelerator: Accelerator, flag: bool) -> bool:
    if accelerator.num_processes == 1:
        return flag
    count = accelerator.reduce(torch.tensor(int(flag), device=accelerator.device), reduction="sum")
    return bool(count.item())
