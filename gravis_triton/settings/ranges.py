"""Ranges of settings, written beside the fields: `lr: Annotated[float, Range(above=0)]`."""

import math
from collections.abc import Callable
from dataclasses import dataclass, is_dataclass
from typing import Any, get_args, get_type_hints

from gravis_triton.errors import UserError


@dataclass(frozen=True, slots=True)
class Range:
    """Bounds of a number: `min` and `max` inclusive, `above` and `below` exclusive; None: unbounded."""

    min: float | None = None
    max: float | None = None
    above: float | None = None
    below: float | None = None

    def contains(self, value: float) -> bool:
        return (
            (self.min is None or value >= self.min)
            and (self.max is None or value <= self.max)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        bounds = (
            ("at least", self.min), ("above", self.above), ("at most", self.max), ("below", self.below),
        )  # fmt: skip
        return " and ".join(f"{words} {bound:g}" for words, bound in bounds if bound is not None)


def flag(name: str) -> str:
    """The command line flag of a setting."""
    return f"--{name.replace('_', '-')}"


def check_ranges(settings: Any, naming: Callable[[str], str] = flag) -> None:
    """Raise UserError for a value of a settings dataclass, or of a group in it, that is out of range or not finite.

    naming: turns a field's name into what the user knows it by.
    """
    for name, hint in get_type_hints(type(settings), include_extras=True).items():
        value = getattr(settings, name)
        if is_dataclass(value):
            check_ranges(value, naming)
        if not isinstance(value, int | float):
            continue
        if not math.isfinite(value):
            raise UserError(f"{naming(name)} must be a finite number, not {value}")
        for bounds in get_args(hint)[1:]:
            if isinstance(bounds, Range) and not bounds.contains(value):
                raise UserError(f"{naming(name)} must be {bounds}, not {value}")
