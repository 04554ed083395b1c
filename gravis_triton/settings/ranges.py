"""Values that no run can work with, whichever recipe's settings they are in."""

import math
from collections.abc import Callable

from gravis_triton.errors import UserError

_AT_LEAST = {
    "views": 2, "batch_size": 1, "synthetic_sources": 1, "image_size": 0, "cache_size": 0, "projection_hidden": 0,
    "projection_dim": 1, "epochs": 0, "max_steps": 0, "min_steps": 0, "grad_cache_chunk": 0, "log_every": 1,
    "eval_every": 0, "checkpoint_every": 1, "num_workers": -1, "warmup_epochs": 0, "weight_decay": 0, "momentum": 0,
    "rotation": 0, "brightness": 0, "contrast": 0, "saturation": 0, "cutout_holes": 0, "cutout_side": 0,
    "blur_sigma": 0, "defocus_radius": 1, "seed": 0, "split_seed": 0, "shuffle_buffer": 1, "steps_per_epoch": 0,
    "patience": 0,
}  # fmt: skip
_AT_MOST_FROM_0 = {
    "grayscale": 1.0, "blur": 1.0, "flip": 1.0, "vertical_flip": 1.0, "hue": 0.5, "dropout": 1.0, "stain": 1.0,
    "hair": 1.0, "ink": 1.0, "ruler": 1.0, "bubbles": 1.0, "defocus": 1.0, "vignette": 1.0, "illuminant": 1.0,
    "constancy": 1.0,
}  # fmt: skip
_ABOVE_0_TO_1 = ("crop_scale", "label_fraction", "layer_decay")


def flag(name: str) -> str:
    """The command line flag of a setting."""
    return f"--{name.replace('_', '-')}"


def check_ranges(settings: object, naming: Callable[[str], str] = flag) -> None:
    """Raises UserError for a value out of range, NaN and infinities among them.

    settings: a dataclass. naming: makes of a setting's name what the user knows it by.
    """
    for name, value in vars(settings).items():
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"{naming(name)} must be a finite number, not {value}")
    for name, least in _AT_LEAST.items():
        value = getattr(settings, name, None)
        if value is not None and value < least:
            raise UserError(f"{naming(name)} must be at least {least}, not {value}")
    for name, most in _AT_MOST_FROM_0.items():
        value = getattr(settings, name, None)
        if value is not None and not 0 <= value <= most:
            raise UserError(f"{naming(name)} must lie between 0 and {most:g}, not {value}")
    for name in _ABOVE_0_TO_1:
        value = getattr(settings, name, None)
        if value is not None and not 0 < value <= 1:
            raise UserError(f"{naming(name)} must be above 0 and at most 1, not {value}")
    if not 0 < getattr(settings, "held_out", 0.5) < 1:
        raise UserError(f"--held-out must lie between 0 and 1, not {settings.held_out}")  # type: ignore[attr-defined]
    if not 0 <= getattr(settings, "ema", 0.0) < 1:
        raise UserError(f"--ema must be at least 0 and below 1, not {settings.ema}")  # type: ignore[attr-defined]
    if getattr(settings, "lr", 1.0) <= 0:
        raise UserError(f"--lr must be positive, not {settings.lr}")  # type: ignore[attr-defined]
