"""Settings of the GraVIS losses, with their defaults and validation in one place."""

import math
import numbers
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from torch import Tensor

Attention = Literal["softmax", "rank", "uniform"]
Negatives = Literal["mean", "logsumexp"]
Penalty = Literal["hinge", "softplus", "sigmoid"]


@dataclass(frozen=True, slots=True)
class PenaltyDefaults:
    """Default margin and negatives of a penalty."""

    margin: float
    negatives: Negatives


PENALTY_DEFAULTS: Mapping[Penalty, PenaltyDefaults] = {
    "softplus": PenaltyDefaults(margin=0.0, negatives="logsumexp"),
    "hinge": PenaltyDefaults(margin=0.5, negatives="mean"),
    "sigmoid": PenaltyDefaults(margin=0.0, negatives="mean"),
}


@dataclass(frozen=True, slots=True)
class GravisSettings:
    """Complete settings of one loss, with the defaults of `gravis_kernels.gravis_loss`; see there for the formulas.

    Nothing is validated here: `complete_settings` does that, and fills in the defaults of the penalty.

    margin: m, in units of similarity.
    attention_temperature: temperature of attention "softmax".
    temperature: t of the penalty, the log-sum-exp and attention "rank".
    """

    margin: float = PENALTY_DEFAULTS["softplus"].margin
    attention: Attention = "softmax"
    attention_temperature: float = 0.5
    negatives: Negatives = PENALTY_DEFAULTS["softplus"].negatives
    penalty: Penalty = "softplus"
    temperature: float = 0.2
    detach_attention: bool = False


DEFAULTS = GravisSettings()

# From this temperature on, exp(s / t) of cosines and its sum over 2^20 columns fit float32 without a running maximum.
SMALLEST_PLAIN_TEMPERATURE = 0.016


def complete_settings(
    *,
    attention: Attention = DEFAULTS.attention,
    attention_temperature: float = DEFAULTS.attention_temperature,
    penalty: Penalty | None = None,
    negatives: Negatives | None = None,
    margin: float | None = None,
    temperature: "Tensor | float" = DEFAULTS.temperature,
    detach_attention: bool = False,
) -> GravisSettings:
    """Validate settings and fill in defaults: penalty "softplus" ("sigmoid" for attention "rank"), margin, negatives.

    Raises:
        ValueError: a value is out of range, or settings contradict each other.
        TypeError: margin or a temperature is no number, or is a tensor that requires a gradient.
    """
    _check_choices(attention, negatives, penalty)
    attention_temperature = check_positive("attention_temperature", attention_temperature)
    temperature = check_positive("temperature", temperature)
    if margin is not None:
        margin = check_number("margin", margin)
        if not -math.inf < margin < math.inf:
            raise ValueError(f"margin must be finite, got {margin}")
    if attention == "rank":
        _check_rank(margin, negatives, penalty, detach_attention)
    chosen: Penalty = penalty or ("sigmoid" if attention == "rank" else DEFAULTS.penalty)
    if chosen == "sigmoid" and negatives == "logsumexp":
        raise ValueError('penalty "sigmoid" is defined for negatives "mean" only, got negatives "logsumexp"')
    defaults = PENALTY_DEFAULTS[chosen]
    return GravisSettings(
        margin=defaults.margin if margin is None else margin,
        attention=attention,
        attention_temperature=attention_temperature,
        negatives=negatives or defaults.negatives,
        penalty=chosen,
        temperature=temperature,
        detach_attention=detach_attention,
    )


def _check_choices(attention: str, negatives: str | None, penalty: str | None) -> None:
    for name, value, choices in (
        ("attention", attention, get_args(Attention)),
        ("negatives", negatives, (*get_args(Negatives), None)),
        ("penalty", penalty, (*get_args(Penalty), None)),
    ):
        if value not in choices:
            raise ValueError(f"{name} must be one of {', '.join(filter(None, choices))}, got {value!r}")


def check_positive(name: str, value: "Tensor | float") -> float:
    """Return the value; ValueError unless it is positive and finite."""
    number = check_number(name, value)
    if not 0 < number < math.inf:
        raise ValueError(f"{name} must be positive and finite, got {number}")
    return number


def check_number(name: str, value: "float | Tensor") -> float:
    """The value as a float; TypeError unless it is a number or a constant tensor of one (ValueError for more)."""
    if isinstance(value, float):  # also all that torch.compile can trace
        return value
    if isinstance(value, bool) or not (isinstance(value, numbers.Real) or hasattr(value, "requires_grad")):
        raise TypeError(f"{name} must be a number, got {value!r}")
    if getattr(value, "numel", lambda: 1)() != 1:
        raise ValueError(f"{name} must be one number, got shape {tuple(value.shape)}")
    if str(getattr(value, "dtype", "")).removeprefix("torch.") in ("bool", "complex64", "complex128"):
        raise TypeError(f"{name} must be a number, got {value!r}")
    if getattr(value, "requires_grad", False):
        raise TypeError(f"{name} gets no gradient from this loss: pass {name}.item()")
    return float(value)


def _check_rank(margin: float | None, negatives: str | None, penalty: str | None, detach_attention: bool) -> None:
    fixed = {"margin": (margin, 0.0), "negatives": (negatives, "mean"), "penalty": (penalty, "sigmoid")}
    for name, (given, needed) in fixed.items():
        if given is not None and given != needed:
            raise ValueError(f'attention "rank" requires {name} {needed!r}, got {given!r}: omit {name}')
    if detach_attention:
        raise ValueError('attention "rank" cannot be detached: omit detach_attention')
