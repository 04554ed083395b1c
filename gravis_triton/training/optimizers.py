"""timm's optimizers and learning rate schedules, from settings."""

import math
from typing import Any

import timm.optim
import torch
from timm.scheduler import create_scheduler_v2
from timm.scheduler.scheduler import Scheduler
from torch import nn

from gravis_triton.errors import UserError, did_you_mean
from gravis_triton.settings.groups import OptimizationSettings

_POLY_POWER, _STEP_DECAY = 0.9, 0.1  # timm has one argument for both


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
            parameters, opt=settings.opt, lr=settings.lr, weight_decay=settings.weight_decay, momentum=settings.momentum
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
