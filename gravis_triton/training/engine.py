"""The training loop: one epoch at a time."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import Any, TypeAlias

import numpy as np
import torch
import torch.distributed as dist
from accelerate import Accelerator
from torch import Tensor, nn

from gravis_triton.data.loading.pretraining import Batches
from gravis_triton.errors import LOST_PROCESS, UserError, is_lost_process
from gravis_triton.run_directory import RunDirectory
from gravis_triton.settings.jobs import FinetuneSettings, PretrainSettings
from gravis_triton.training.checkpoint import TrainState, start_or_resume
from gravis_triton.training.interrupt import StopRequest
from gravis_triton.training.optimizers import build_optimizer, build_scheduler
from gravis_triton.training.setup import PATIENCE, prepare_model
from gravis_triton.training.sharding import all_finite, full_weights, is_sharded, prepare_for_sharding

Metrics: TypeAlias = dict[str, Any]

STEP_PATIENCE = timedelta(minutes=10)
"""How long a process waits for the others within an epoch."""

_MOST_IN_A_ROW = 30  # steps that float16's scaler needs at most to find its scale by halving


class Training:
    """A method or task in training, prepared for all processes, with its optimizer, schedule, data and progress.

    model: a `Method` or a `Task`: `make_views(batch)`, then `forward(views, batch, step)` to a loss and metrics, and
    `after_step(step, steps)`. steps: in the whole schedule; `last_step`: at which this run stops. fingerprint: of the
    images' ids. states: what checkpoints contain besides model and optimizer, by name. parameter_groups: for the
    optimizer; default: all parameters, without weight decay on biases and normalization.

    A new run, or one to resume. Raises UserError for an optimizer that is unknown or does not fit, for a model that the
    launcher's settings do not fit, and as `start_or_resume` does.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        model: nn.Module,
        settings: PretrainSettings | FinetuneSettings,
        run: RunDirectory,
        *,
        batches: Batches,
        loader: Iterable[Any],
        steps: int,
        fingerprint: str,
        states: Mapping[str, Any],
        parameter_groups: list[dict[str, Any]] | None = None,
    ) -> None:
        self.accelerator, self.settings, self.batches, self.loader = accelerator, settings, batches, loader
        self.steps, self.last_step, self.states = steps, min(steps, settings.max_steps or steps), states
        model = prepare_model(model, accelerator, channels_last=settings.channels_last, compile=settings.compile)
        optimizer = build_optimizer(parameter_groups or model, settings)
        self.scheduler = build_scheduler(optimizer, settings, steps=steps, steps_per_epoch=len(batches))
        self._whole = prepare_for_sharding(model, accelerator) if is_sharded(accelerator) else None
        try:
            self.model, self.optimizer = accelerator.prepare(model, optimizer)
        except ValueError as error:
            raise UserError(f"accelerate cannot prepare this model: {error}") from error
        start = TrainState(processes=accelerator.num_processes, steps_per_epoch=len(batches), fingerprint=fingerprint)
        resume, optimizer = settings.resume, self.optimizer
        self.state = start_or_resume(accelerator, run, resume, start, optimizer=optimizer, states=states)

    def full_weights(self) -> AbstractContextManager[Any]:
        """The model with all its weights in the first process; all processes enter."""
        return full_weights(self.accelerator, self.accelerator.unwrap_model(self.model), self._whole)


def train_epoch(training: Training, stop: StopRequest, on_metrics: Callable[[Metrics], None]) -> bool:
    """Train to the end of the epoch or to the last step, updating `training.state`.

    Returns True, in all processes, if it ended early because a signal asked any of them to stop.

    All randomness in a step is determined by (seed, step, process), so a resumed run repeats it exactly.
    Raises UserError if the loss or a weight is no longer finite, or if another process does not respond.
    """
    t, state, settings, accelerator = training, training.state, training.settings, training.accelerator
    method: Any = accelerator.unwrap_model(t.model)
    epoch = state.epoch
    t.batches.start(epoch, state.step % state.steps_per_epoch)
    t.model.train()
    meter = StepMeter(accelerator.device)
    skips_bad_steps = settings.max_bad_steps > 0 and accelerator.scaler is None  # float16's scaler does its own check
    with _step_timeout():
        for batch in t.loader:
            meter.data_arrived()
            seed_step(settings.seed, state.step, accelerator.process_index)
            t.scheduler.step_update(state.step)
            buffers = [buffer.clone() for buffer in t.model.buffers()] if skips_bad_steps else []

            batch = type(batch)(*(part.to(accelerator.device, non_blocking=True) for part in batch))
            views = method.make_views(batch)
            loss, metrics = t.model(views, batch, state.step)
            accelerator.backward(loss)
            is_bad = skips_bad_steps and undo_bad_step(t.model, buffers)
            if not is_bad:
                if settings.clip_grad is not None:
                    accelerator.clip_grad_norm_(t.model.parameters(), settings.clip_grad)
                t.optimizer.step()
            t.optimizer.zero_grad()

            skipped = is_bad or getattr(t.optimizer, "step_was_skipped", False)
            state.count_step(skipped)
            meter.step_done(None if skipped else {"loss": loss.detach(), **metrics}, len(batch[0]))
            if skipped:
                _check_bad_steps(state, settings.max_bad_steps if is_bad else None)
            else:
                method.after_step(state.step, t.steps)
            ended = state.step == t.last_step or state.ends_epoch
            if ended or state.step % settings.log_every == 0 or (accelerator.num_processes == 1 and stop):
                on_metrics(_log_line(training, epoch, meter))
                state.seconds += meter.seconds
                meter = StepMeter(accelerator.device)
                if stop:
                    accelerator.set_trigger()
                if accelerator.check_trigger():  # of any process
                    return True
            if ended:
                break
    return False


def seed_step(seed: int, step: int, process: int) -> None:
    """Seed the random generators of all devices for a step of a process."""
    state = np.random.SeedSequence((seed, step, process)).generate_state(1, np.uint64)[0]
    torch.manual_seed(int(state) >> 1)


@torch.no_grad()
def undo_bad_step(model: nn.Module, buffers: Iterable[Tensor]) -> bool:
    """Undo what a backward pass with a non-finite gradient did to a model: set its gradient to zero, and its buffers,
    such as BatchNorm's, to what they were. Returns whether it was one; all processes agree, as they share the gradient.
    """
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    if all_finite(gradients):
        return False
    for gradient in gradients:
        gradient.zero_()
    for buffer, value in zip(model.buffers(), buffers, strict=True):
        buffer.copy_(value)
    return True


def _check_bad_steps(state: TrainState, allowed: int | None) -> None:
    if state.bad_in_a_row > _MOST_IN_A_ROW:
        raise UserError(
            f"no finite gradient since step {state.step - state.bad_in_a_row}: lower --lr, or train "
            "with --mixed-precision bf16 or no; the last checkpoint predates this"
        )
    if allowed is not None and state.bad_steps > allowed:
        raise UserError(
            f"non-finite gradient at step {state.step}, after {allowed} earlier (--max-bad-steps): "
            "lower --lr, or train with --mixed-precision no; the last checkpoint predates this"
        )


class StepMeter:
    """Means of the metrics over the steps since the last log line, without waiting for the device, and times."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.start = self.mark = time.perf_counter()
        self.waited, self.steps, self.images = 0.0, 0, 0
        self.sums: dict[str, Tensor] = {}

    def data_arrived(self) -> None:
        self.waited += time.perf_counter() - self.mark

    def step_done(self, metrics: Mapping[str, Tensor] | None, images: int) -> None:
        """metrics: None for a skipped step."""
        if metrics is not None:
            for name, value in metrics.items():
                self.sums[name] = self.sums.get(name, torch.zeros((), device=self.device)) + value
            self.steps += 1
        self.images += images
        self.mark = time.perf_counter()

    def means(self) -> dict[str, float]:
        return {"loss": math.nan} | {name: total.item() / self.steps for name, total in self.sums.items()}

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.start


def _log_line(training: Training, epoch: int, meter: StepMeter) -> Metrics:
    """Metrics over the steps since the last line.

    step: optimizer steps so far, of which bad_steps were skipped for a non-finite gradient. epoch: from 1. lr: of the
    layers without decay. images_per_second: over all processes. data_time: share of the time spent waiting for data.
    """
    state, means = training.state, meter.means()
    is_wrong = meter.steps > 0 and not math.isfinite(means["loss"])
    wrong = f"the loss is {means['loss']}" if is_wrong else "a weight is not finite"
    if is_wrong or not all_finite(training.model.state_dict().values()):
        raise UserError(
            f"{wrong} at step {state.step}: lower --lr, or train with --mixed-precision bf16 or no; "
            "the last checkpoint predates this"
        )
    return {
        "step": state.step,
        "epoch": epoch + 1,
        "epochs": math.ceil(training.steps / state.steps_per_epoch),
        **means,
        "lr": training.optimizer.param_groups[-1]["lr"],
        "images_per_second": meter.images * training.accelerator.num_processes / meter.seconds,
        "data_time": meter.waited / meter.seconds,
        "bad_steps": state.bad_steps,
    }


@contextmanager
def _step_timeout() -> Iterator[None]:
    """Inside, a process that does not respond is a UserError within minutes; outside, the others wait for hours."""
    group = dist.group.WORLD  # None for a single process
    if group is None:
        yield
        return
    group.set_timeout(STEP_PATIENCE)
    try:
        yield
    except RuntimeError as error:
        if not is_lost_process(error):
            raise
        raise UserError(LOST_PROCESS) from error
    finally:
        group.set_timeout(PATIENCE)
