"""The losses that pre-training can minimize, by name."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from gravis_kernels import GravisSettings, complete_settings

from gravis_triton.errors import UserError
from gravis_triton.settings import LossSettings, PretrainSettings, flag, flatten, override

Settings = TypeVar("Settings", bound=PretrainSettings)


@dataclass(frozen=True, slots=True)
class _Loss:
    """A member of the GraVIS family: its fixed and its tunable settings; gravis_kernels has the defaults."""

    fixed: Mapping[str, Any]
    tunable: tuple[str, ...]


_LOSSES: Mapping[str, _Loss] = {
    "gravis": _Loss(
        {}, ("margin", "attention", "attention_temperature", "negatives", "penalty", "temperature")
    ),
    "gravis-rank": _Loss({"attention": "rank"}, ("temperature",)),
    "nt-xent": _Loss({"attention": "uniform", "penalty": "softplus"}, ("temperature",)),
    "triplet": _Loss({"attention": "uniform", "penalty": "hinge"}, ("margin",)),
}


def resolve_loss(settings: Settings) -> Settings:
    """The settings with every None in the loss settings replaced by the default of the chosen loss.

    Raises UserError for a setting that the loss does not have, and for an unsupported combination.
    """
    chosen, loss = settings.loss, _LOSSES[settings.loss.loss]
    for name, value in flatten(chosen).items():
        if name not in ("loss", *loss.tunable) and value is not None:
            flags = ", ".join(map(flag, loss.tunable))
            raise UserError(f"{flag(name)} has no effect on --loss {chosen.loss}, which has {flags}: drop it")
    if chosen.attention == "rank":
        raise UserError("--attention rank is a separate loss: use --loss gravis-rank")
    if chosen.penalty == "sigmoid" and chosen.negatives == "logsumexp":
        raise UserError(
            "--penalty sigmoid needs --negatives mean; for logsumexp use --penalty hinge or softplus"
        )
    complete = gravis_settings(chosen)
    return override(settings, {name: getattr(complete, name) for name in loss.tunable})


def gravis_settings(settings: LossSettings) -> GravisSettings:
    """The complete settings of the loss, with the defaults of gravis_kernels for None."""
    loss = _LOSSES[settings.loss]
    given = {name: getattr(settings, name) for name in loss.tunable}
    return complete_settings(
        **loss.fixed, **{name: value for name, value in given.items() if value is not None}
    )
