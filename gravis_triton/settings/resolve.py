"""What is chosen for the user where nothing is given, and what no run can work with."""

import math
import os
from dataclasses import replace

from gravis_triton.errors import UserError
from gravis_triton.settings.groups import PretrainSettings

_MAX_WORKERS = 8


def resolve_settings(settings: PretrainSettings) -> PretrainSettings:
    """Put what is chosen for the user in place of 0 and -1. Raises UserError for a value out of range, by flag."""
    _check_ranges(settings)
    synthetic = settings.data == "synthetic"
    image_size = settings.image_size or (64 if synthetic else 224)
    return replace(
        settings,
        image_size=image_size,
        cache_size=settings.cache_size or math.ceil(1.5 * image_size),
        epochs=settings.epochs or (8 if synthetic else 100),
        num_workers=min(_MAX_WORKERS, available_cores())
        if settings.num_workers < 0
        else settings.num_workers,
    )


def available_cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _check_ranges(settings: PretrainSettings) -> None:
    at_least = {
        "views": 2, "batch_size": 1, "synthetic_sources": 1, "image_size": 0, "cache_size": 0, "projection_hidden": 0,
        "projection_dim": 1, "epochs": 0, "max_steps": 0, "grad_cache_chunk": 0, "log_every": 1, "eval_every": 0,
        "checkpoint_every": 1, "num_workers": -1, "warmup_epochs": 0, "weight_decay": 0, "momentum": 0, "rotation": 0,
        "brightness": 0, "contrast": 0, "saturation": 0, "cutout_holes": 0, "cutout_side": 0, "blur_sigma": 0,
        "seed": 0,
    }  # fmt: skip
    for name, least in at_least.items():
        value = getattr(settings, name)
        if value < least:
            raise UserError(f"{flag(name)} must be at least {least}, not {value}")
    if settings.split_seed is not None and settings.split_seed < 0:
        raise UserError(f"--split-seed must be at least 0, not {settings.split_seed}")
    for name, most in {"grayscale": 1.0, "blur": 1.0, "flip": 1.0, "hue": 0.5}.items():
        if not 0 <= getattr(settings, name) <= most:
            raise UserError(f"{flag(name)} must lie between 0 and {most:g}, not {getattr(settings, name)}")
    if not 0 < settings.crop_scale <= 1:
        raise UserError(f"--crop-scale must be above 0 and at most 1, not {settings.crop_scale}")
    if not 0 < settings.held_out < 1:
        raise UserError(f"--held-out must lie between 0 and 1, not {settings.held_out}")
    if settings.lr <= 0:
        raise UserError(f"--lr must be positive, not {settings.lr}")


def split_seed(settings: PretrainSettings) -> int:
    """What the drawn splits follow from."""
    return settings.seed if settings.split_seed is None else settings.split_seed


def flag(name: str) -> str:
    """The command line flag of a setting."""
    return f"--{name.replace('_', '-')}"
