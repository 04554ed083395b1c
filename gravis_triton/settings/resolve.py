"""What is chosen for the user where nothing is given."""

import math
import os
from dataclasses import replace
from typing import Protocol

from gravis_triton.errors import UserError
from gravis_triton.settings.groups import PretrainSettings

_MAX_WORKERS = 8


def resolve_settings(settings: PretrainSettings) -> PretrainSettings:
    """Put what is chosen for the user in place of 0 and -1. Raises UserError for a contradiction."""
    if settings.steps_per_epoch and not settings.streaming:
        raise UserError("--steps-per-epoch has no effect without --streaming: drop it")
    synthetic = settings.data == "synthetic"
    image_size = settings.image_size or (64 if synthetic else 224)
    return replace(
        settings,
        image_size=image_size,
        cache_size=settings.cache_size or math.ceil(1.5 * image_size),
        epochs=settings.epochs or (8 if synthetic else 100),
        num_workers=chosen_workers(settings.num_workers),
    )


def chosen_workers(asked: int) -> int:
    """Worker processes: as many as asked for, -1 meaning one per core, at most 8."""
    return min(_MAX_WORKERS, available_cores()) if asked < 0 else asked


def available_cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Seeded(Protocol):
    @property
    def seed(self) -> int: ...

    @property
    def split_seed(self) -> int | None: ...


def split_seed(settings: _Seeded) -> int:
    """What the drawn splits follow from."""
    return settings.seed if settings.split_seed is None else settings.split_seed
