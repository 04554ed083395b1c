"""Ranges of settings, declared with the fields: `lr: Annotated[float, Range(above=0)]`."""

import math
from collections.abc import Callable
from dataclasses import dataclass, is_dataclass
from typing import Any, get_args, get_type_hints

from gravis_triton.errors import UserError


@dataclass(frozen=True, slots=True)
class Range:
    """Bounds of a number: `min` and `max` are inclusive, `above` and `below` exclusive, None is unbounded."""

    min: float | None = None
    max: float | None = None
    above: float | None = None
    below: float | None = None

    def contains(self, value: float) -> bool:
        return not self.violated(value)

    def violated(self, value: float) -> str:
        """The violated bounds in words, or "" if the value is in the range."""
        bounds = (
            ("at least", self.min, value >= (self.min or 0)),
            ("above", self.above, value > (self.above or 0)),
            ("at most", self.max, value <= (self.max or 0)),
            ("below", self.below, value < (self.below or 0)),
        )
        return " and ".join(
            f"{words} {bound:.10g}" for words, bound, holds in bounds if bound is not None and not holds
        )


def flag(name: str) -> str:
    """The command line flag of a setting."""
    return f"--{name.replace('_', '-')}"


def check_ranges(settings: Any, naming: Callable[[str], str] = flag) -> None:
    """Raise UserError if a value of a settings dataclass, or of a group in it, is out of range or not finite.

    naming: maps a field's name to the one in the message.
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
            if isinstance(bounds, Range) and (violated := bounds.violated(value)):
                raise UserError(f"{naming(name)} must be {violated}, not {value}")
