"""From settings to the parts of a training run."""

import ctypes
import math
import os
from datetime import timedelta
from typing import Any

import timm.optim
import torch
from accelerate import Accelerator, InitProcessGroupKwargs
from accelerate.state import AcceleratorState
from accelerate.tracking import get_available_trackers
from timm.layers import convert_sync_batchnorm
from timm.scheduler import create_scheduler_v2
from timm.scheduler.scheduler import Scheduler
from torch import nn

from gravis_triton.cores import available_cores
from gravis_triton.errors import UserError, did_you_mean
from gravis_triton.launcher import user_has_set
from gravis_triton.settings import OptimizationSettings, RunSettings

PATIENCE = timedelta(hours=12)
"""For which processes wait for the first one: while it decodes the images, or evaluates."""

_POLY_POWER, _STEP_DECAY = 0.9, 0.1  # timm has one argument for both

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h of glibc


def start_accelerator(settings: RunSettings) -> Accelerator:
    """Join the processes that `accelerate launch` or torchrun started. Raises UserError for a tracker that is not
    installed, and for a precision that the device does not have."""
    if settings.tracker is not None:
        available = [str(tracker) for tracker in get_available_trackers()]
        if settings.tracker not in available:
            raise UserError(
                f"--tracker {settings.tracker} is not installed here; "
                + (
                    f"available: {', '.join(available)}"
                    if available
                    else f"try: pip install {settings.tracker}"
                )
            )
    AcceleratorState._reset_state()  # else the precision of this process's first job would be that of all
    try:
        accelerator = Accelerator(
            mixed_precision=settings.mixed_precision,
            log_with=settings.tracker,
            project_dir=settings.output_dir,
            cpu=not torch.accelerator.is_available(),  # else processes of torchrun would look for GPUs
            kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)],
            step_scheduler_with_optimizer=False,
        )
    except (ValueError, ImportError) as error:
        raise UserError(f"accelerate rejects these settings: {str(error).splitlines()[0]}") from error
    if accelerator.device.type == "cpu":
        _set_threads(settings.cpu_threads, accelerator.state.num_processes)
        _keep_freed_memory()
    return accelerator


def end_trackers(accelerator: Accelerator) -> None:
    """Close a job's trackers, but not the process group, as accelerate's `end_training` would: it is the next job's,
    too, and the command line leaves it at its end."""
    for tracker in accelerator.trackers:
        tracker.finish()


def _set_threads(threads: int | None, processes: int) -> None:
    """Use `threads`, else what the user set OMP_NUM_THREADS to, else this process's share of the cores.

    `accelerate launch` sets OMP_NUM_THREADS as well, to 1 where it is not told otherwise, as PyTorch takes all cores of
    the machine where a container may use only some of them.
    """
    if threads is None and not user_has_set("OMP_NUM_THREADS"):
        threads = max(1, available_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", processes)))
    if threads is not None:
        torch.set_num_threads(threads)


def _keep_freed_memory() -> None:
    """glibc returns large blocks to the system when they are freed; a step on the CPU would spend up to a third of its
    time on getting zeroed pages again. Keep them for the next step. Does nothing where the C library is another."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)  # large blocks come from the heap as well
        mallopt(_M_TRIM_THRESHOLD, -1)  # which is never trimmed


def check_optimizer(name: str) -> None:
    """Raises UserError for an optimizer that timm does not have."""
    known = timm.optim.list_optimizers()
    if name.lower() not in known:
        hint = did_you_mean(name, map(str, known), at_most=3) or "; timm.optim.list_optimizers() lists them"
        raise UserError(f"unknown optimizer --opt {name}{hint}")


def build_optimizer(
    parameters: nn.Module | list[dict[str, Any]], settings: OptimizationSettings
) -> torch.optim.Optimizer:
    """timm's optimizer over parameter groups, or over a model without weight decay for biases and normalization.

    Raises UserError as `check_optimizer` does, and for settings or a machine that the optimizer refuses.
    """
    check_optimizer(settings.opt)
    try:
        return timm.optim.create_optimizer_v2(
            parameters,
            opt=settings.opt,
            lr=settings.lr,
            weight_decay=settings.weight_decay,
            momentum=settings.momentum,
        )
    except (ValueError, AssertionError, RuntimeError, ImportError) as error:
        raise UserError(f"--opt {settings.opt} cannot be used so: {error}") from error


def build_scheduler(
    optimizer: torch.optim.Optimizer, settings: OptimizationSettings, *, steps: int, steps_per_epoch: int
) -> Scheduler:
    """timm's learning rate schedule over all steps, a pure function of the step: `scheduler.step_update(step)` sets the
    rate. Where the settings name no warm-up it is one epoch, or an eighth of the steps where that is less.

    Raises UserError for a warm-up that is longer than the run.
    """
    warmup = min(steps_per_epoch, steps / 8)
    if settings.warmup_epochs is not None:
        warmup = settings.warmup_epochs * steps_per_epoch
    if warmup > steps:
        raise UserError(
            f"--warmup-epochs {settings.warmup_epochs:g} is longer than the run, {steps:,} steps of "
            f"{steps_per_epoch:,} an epoch: take fewer"
        )
    scheduler, _ = create_scheduler_v2(
        optimizer,
        sched=settings.sched,
        num_epochs=steps,  # timm's epochs are steps here
        warmup_epochs=warmup,  # type: ignore[arg-type]  # timm only compares it with steps
        warmup_lr=settings.lr / 100,
        decay_epochs=math.ceil(steps / 3),  # two steps down
        decay_rate=_POLY_POWER if settings.sched == "poly" else _STEP_DECAY,
        step_on_epochs=False,
        updates_per_epoch=1,
    )
    return scheduler


def prepare_model(
    model: nn.Module, accelerator: Accelerator, *, channels_last: bool, compile: bool
) -> nn.Module:
    """Memory format, BatchNorm over all processes, compilation.

    On GPUs BatchNorm is synchronized, because the loss contrasts the whole batch over all processes: with statistics
    of each process's own views, the encoder could tell by them which views were processed together, and the gradient
    would depend on the number of processes. (PyTorch has it for GPUs only; CPU processes keep their own statistics.)
    """
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
    if accelerator.num_processes > 1 and accelerator.device.type == "cuda":
        model = convert_sync_batchnorm(model)
    if compile:
        model.compile()
    return model
