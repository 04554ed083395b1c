"""The training loop: one epoch at a time."""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

import numpy as np
import torch
from accelerate import Accelerator
from timm.scheduler.scheduler import Scheduler
from torch import Tensor, nn
from torch.distributed import distributed_c10d

from gravis_triton.cores import seconds_waited
from gravis_triton.data.loading.pretraining import Batches
from gravis_triton.errors import UserError
from gravis_triton.training.bad_steps import BadSteps
from gravis_triton.training.checkpoint import Progress
from gravis_triton.training.interrupt import StopRequest
from gravis_triton.training.metrics import StepMetrics
from gravis_triton.training.setup import PATIENCE

STEP_PATIENCE = timedelta(minutes=10)
"""How long a process waits for the others within an epoch."""

_MOST_IN_A_ROW = 30  # steps that float16's scaler needs at most to find its scale by halving


class TrainingStep(Protocol):
    """One training step on a batch; called in step order."""

    def __call__(self, batch: Any) -> Tensor:
        """Accumulate the gradient of the batch's loss; returns that loss, detached."""
        ...

    def metrics(self, measured: StepMetrics) -> StepMetrics:
        """The metrics measured over the last steps, plus those specific to this kind of step."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """Components of training; model and optimizer as returned by `accelerator.prepare`.

    epochs: in the whole schedule. log_every: steps between reports of metrics. max_bad_steps: number of steps with a
    non-finite gradient to skip before the run stops.
    """

    accelerator: Accelerator
    batches: Batches
    loader: Iterable[Any]
    model: nn.Module
    step: TrainingStep
    optimizer: torch.optim.Optimizer
    scheduler: Scheduler
    seed: int
    epochs: int
    log_every: int
    max_bad_steps: int = 0


def train_epoch(
    training: Training,
    progress: Progress,
    last_step: int,
    stop: StopRequest,
    report: Callable[[StepMetrics], None],
) -> bool:
    """Train from `progress.step` to the end of its epoch or to `last_step`, updating `progress`.

    Returns True, in all processes, if it ended early because a signal asked any of them to stop.

    All randomness in a step is determined by (seed, step, process), so a resumed run repeats it exactly.
    Raises UserError if the loss or a weight is no longer finite.
    """
    with _answers_expected(training.accelerator):
        return _train_epoch(training, progress, last_step, stop, report)


def _train_epoch(
    training: Training,
    progress: Progress,
    last_step: int,
    stop: StopRequest,
    report: Callable[[StepMetrics], None],
) -> bool:
    t, accelerator = training, training.accelerator
    epoch, first = divmod(progress.step, progress.steps_per_epoch)
    t.batches.start(epoch, first)
    t.model.train()
    window = _Window(accelerator.device)
    # float16's scaler does its own check
    bad_steps = BadSteps(t.model) if t.max_bad_steps and accelerator.scaler is None else None
    for batch in t.loader:
        window.data_arrived()
        seed_step(t.seed, progress.step, accelerator.process_index)
        t.scheduler.step_update(progress.step)
        if bad_steps:
            bad_steps.remember()
        loss = t.step(type(batch)(*(part.to(accelerator.device, non_blocking=True) for part in batch)))
        is_bad = bad_steps is not None and bad_steps.undo()
        if not is_bad:
            t.optimizer.step()
        is_left_out = is_bad or getattr(t.optimizer, "step_was_skipped", False)
        t.optimizer.zero_grad()
        progress.step += 1
        window.step_done(None if is_left_out else loss, len(batch[0]))
        progress.bad_in_a_row = progress.bad_in_a_row + 1 if is_left_out else 0
        if is_left_out:
            _count_bad_step(progress, t.max_bad_steps if is_bad else None)
        ended = progress.step == last_step or progress.step % progress.steps_per_epoch == 0
        if ended or progress.step % t.log_every == 0 or (accelerator.num_processes == 1 and stop):
            report(t.step.metrics(_measured(training, progress, epoch, window)))
            progress.seconds += window.seconds
            window = _Window(accelerator.device)
            if _any_process(accelerator, bool(stop)):
                return True
        if ended:
            break
    return False


def _count_bad_step(progress: Progress, allowed: int | None) -> None:
    progress.bad_steps += 1
    if progress.bad_in_a_row > _MOST_IN_A_ROW:
        raise UserError(
            f"no finite gradient since step {progress.step - progress.bad_in_a_row}: lower --lr, or train "
            "with --mixed-precision bf16 or no; the last checkpoint predates this"
        )
    if allowed is not None and progress.bad_steps > allowed:
        raise UserError(
            f"non-finite gradient at step {progress.step}, after {allowed} earlier (--max-bad-steps): "
            "lower --lr, or train with --mixed-precision no; the last checkpoint predates this"
        )


@contextmanager
def _answers_expected(accelerator: Accelerator) -> Iterator[None]:
    """Inside, raise UserError if a process does not respond within minutes; outside, the others wait for hours."""
    if accelerator.num_processes == 1:
        yield
        return
    _wait_at_most(STEP_PATIENCE)
    try:
        yield
    except RuntimeError as error:
        if "imed out" in str(error):
            raise UserError(
                f"another process has not responded for {STEP_PATIENCE}: it hangs or has died; "
                "continue from the last checkpoint with --resume"
            ) from error
        raise
    finally:
        _wait_at_most(PATIENCE)


def _wait_at_most(time: timedelta) -> None:
    """Set how long processes wait for each other; PyTorch before 2.14 has a private function for this."""
    set_timeout = getattr(distributed_c10d, "set_timeout", None) or distributed_c10d._set_pg_timeout
    set_timeout(time)


def seed_step(seed: int, step: int, process: int) -> None:
    """Seed the random generators of all devices for a step of a process."""
    state = np.random.SeedSequence((seed, step, process)).generate_state(1, np.uint64)[0]
    torch.manual_seed(int(state) >> 1)


class _Window:
    """Sums over the steps since the last metrics."""

    def __init__(self, device: torch.device) -> None:
        self.start = self.mark = time.perf_counter()
        self.waited_for_core = seconds_waited()
        self.waited, self.steps, self.images = 0.0, 0, 0
        self.loss = torch.zeros((), device=device)

    def data_arrived(self) -> None:
        self.waited += time.perf_counter() - self.mark

    def step_done(self, loss: Tensor | None, images: int) -> None:
        """loss: None for a skipped step."""
        if loss is not None:
            self.loss += loss
            self.steps += 1
        self.images += images
        self.mark = time.perf_counter()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.start


def _measured(training: Training, progress: Progress, epoch: int, window: _Window) -> StepMetrics:
    loss = window.loss.item() / window.steps if window.steps else math.nan
    is_wrong = window.steps > 0 and not math.isfinite(loss)
    wrong = f"the loss is {loss}" if is_wrong else "a weight is not finite"
    if is_wrong or not _are_finite(training.model):
        raise UserError(
            f"{wrong} at step {progress.step}: lower --lr, or train with --mixed-precision bf16 or no; "
            "the last checkpoint predates this"
        )
    return StepMetrics(
        step=progress.step,
        epoch=epoch + 1,
        epochs=training.epochs,
        loss=loss,
        bad_steps=progress.bad_steps,
        lr=training.optimizer.param_groups[-1]["lr"],
        images_per_second=window.images * training.accelerator.num_processes / window.seconds,
        data_time=window.waited / window.seconds,
        core_wait=max(0.0, seconds_waited() - window.waited_for_core) / window.seconds,
    )


@torch.no_grad()
def _are_finite(model: nn.Module) -> bool:
    """Whether all weights and statistics of a model are finite."""
    tensors = [tensor for tensor in model.state_dict().values() if tensor.is_floating_point()]
    return bool(torch.stack([tensor.isfinite().all() for tensor in tensors]).all())


def _any_process(accelerator: Accelerator, flag: bool) -> bool:
    if accelerator.num_processes == 1:
        return flag
    count = accelerator.reduce(torch.tensor(int(flag), device=accelerator.device), reduction="sum")
    return bool(count.item())
