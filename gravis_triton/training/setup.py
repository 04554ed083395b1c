"""Build the components of a training run from settings."""

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
from accelerate.utils import LoggerType
from timm.layers import convert_sync_batchnorm
from timm.scheduler import create_scheduler_v2
from timm.scheduler.scheduler import Scheduler
from torch import nn

from gravis_triton.cores import available_cores
from gravis_triton.errors import UserError, did_you_mean
from gravis_triton.launcher import user_has_set
from gravis_triton.settings import OptimizationSettings, RunSettings

PATIENCE = timedelta(hours=12)
"""How long processes wait for the first one while it decodes the images or evaluates."""

_POLY_POWER, _STEP_DECAY = 0.9, 0.1  # timm has one argument for both

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h of glibc


def start_accelerator(settings: RunSettings) -> Accelerator:
    """Join the processes started by `accelerate launch` or torchrun. Raises UserError for a tracker that is not
    installed, and for a precision that the device does not support."""
    if settings.tracker is not None:
        available = [str(tracker) for tracker in get_available_trackers()]
        known = [tracker.value for tracker in LoggerType if tracker != LoggerType.ALL]
        if settings.tracker not in known:
            hint = did_you_mean(settings.tracker, known) or f"; known: {', '.join(known)}"
            raise UserError(f"unknown --tracker {settings.tracker}{hint}")
        if settings.tracker not in available:
            raise UserError(
                f"--tracker {settings.tracker} is not installed; "
                f"installed: {', '.join(available) or 'none of those that accelerate supports'}"
            )
    AcceleratorState._reset_state()  # else all jobs of this process would use the precision of the first
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
    """Close a job's trackers but, unlike accelerate's `end_training`, not the process group: the next job uses it, too,
    and the command line leaves it at the end."""
    for tracker in accelerator.trackers:
        tracker.finish()


def _set_threads(threads: int | None, processes: int) -> None:
    """Use `threads`, or else the user's OMP_NUM_THREADS, or else this process's share of the cores.

    The defaults do not fit: `accelerate launch` sets OMP_NUM_THREADS to 1 unless told otherwise, and PyTorch uses all
    cores of the machine, of which a container may have only some.
    """
    if threads is None and not user_has_set("OMP_NUM_THREADS"):
        threads = max(1, available_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", processes)))
    if threads is not None:
        torch.set_num_threads(threads)


def _keep_freed_memory() -> None:
    """Keep large freed blocks for the next step: glibc returns them to the system, and a step on the CPU would spend up
    to a third of its time getting zeroed pages again. Does nothing with other C libraries."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)  # large blocks come from the heap as well
        mallopt(_M_TRIM_THRESHOLD, -1)  # which is never trimmed


def check_optimizer(name: str) -> None:
    """Raise UserError for an optimizer that timm does not have, and for one that needs second derivatives."""
    known = timm.optim.list_optimizers()
    if name.lower() not in known:
        hint = did_you_mean(name, map(str, known), at_most=3) or "; timm.optim.list_optimizers() lists them"
        raise UserError(f"unknown optimizer --opt {name}{hint}")
    if timm.optim.get_optimizer_info(name.lower()).second_order:
        raise UserError(f"--opt {name} needs second derivatives, which are not computed: choose another")


def build_optimizer(
    parameters: nn.Module | list[dict[str, Any]], settings: OptimizationSettings
) -> torch.optim.Optimizer:
    """Build timm's optimizer for parameter groups, or for a model without weight decay on biases and normalization.

    Raises UserError as `check_optimizer` does, and for settings or a machine that the optimizer does not support.
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
        raise UserError(f"--opt {settings.opt} cannot be used with these settings: {error}") from error


def build_scheduler(
    optimizer: torch.optim.Optimizer, settings: OptimizationSettings, *, steps: int, steps_per_epoch: int
) -> Scheduler:
    """Build timm's learning rate schedule over all steps, a pure function of the step: `scheduler.step_update(step)`
    sets the rate. The default warm-up is one epoch, or an eighth of the steps if that is less.

    Raises UserError for a warm-up that is longer than the run.
    """
    warmup = min(steps_per_epoch, steps / 8)
    if settings.warmup_epochs is not None:
        warmup = settings.warmup_epochs * steps_per_epoch
    if warmup > steps:
        raise UserError(
            f"--warmup-epochs {settings.warmup_epochs:g} is longer than the run ({steps:,} steps, "
            f"{steps_per_epoch:,} per epoch): use a smaller value"
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
    """Set the memory format, synchronize BatchNorm, compile.

    On GPUs BatchNorm is synchronized, because the loss contrasts the whole batch over all processes: per-process
    statistics would reveal to the encoder which views were processed together, and the gradient would depend on the
    number of processes. (PyTorch supports this on GPUs only; CPU processes keep their own statistics.)
    """
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
    if accelerator.num_processes > 1 and accelerator.device.type == "cuda":
        model = convert_sync_batchnorm(model)
    if compile:
        model.compile()
    return model
