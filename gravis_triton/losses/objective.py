"""The losses that pre-training can minimize, by name."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch.distributed
from gravis_kernels import GravisSettings, complete_settings, grouping_loss, nt_xent_loss
from torch import Tensor, nn

from gravis_triton.errors import UserError
from gravis_triton.settings import LossSettings, PretrainSettings, flag, flatten, override

Settings = TypeVar("Settings", bound=PretrainSettings)


@dataclass(frozen=True, slots=True)
class _Loss:
    """A member of the GraVIS family: what is fixed of it, and what a user may set; gravis_kernels has the defaults."""

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
    """The settings with every None of the loss replaced by the default of the named loss.

    Raises UserError for a setting that the loss does not have, and for a combination that is not a loss.
    """
    chosen, loss = settings.loss, _LOSSES[settings.loss.loss]
    for name, value in flatten(chosen).items():
        if name not in ("loss", *loss.tunable) and value is not None:
            flags = ", ".join(map(flag, loss.tunable))
            raise UserError(f"{flag(name)} has no effect on --loss {chosen.loss}, which has {flags}: drop it")
    if chosen.attention == "rank":
        raise UserError("--attention rank is a loss of its own: use --loss gravis-rank")
    if chosen.penalty == "sigmoid" and chosen.negatives == "logsumexp":
        raise UserError(
            "--penalty sigmoid needs --negatives mean; for logsumexp use --penalty hinge or softplus"
        )
    complete = gravis_settings(chosen)
    return override(settings, {name: getattr(complete, name) for name in loss.tunable})


def gravis_settings(settings: LossSettings) -> GravisSettings:
    """The complete settings of the loss, with the defaults of gravis_kernels for what is None."""
    loss = _LOSSES[settings.loss]
    given = {name: getattr(settings, name) for name in loss.tunable}
    return complete_settings(
        **loss.fixed, **{name: value for name, value in given.items() if value is not None}
    )


class Objective(nn.Module):
    """A loss of the whole batch over all processes: embeddings (sources, views, dim) to a scalar.

    Every process gives its own sources and receives the loss of all, with that loss's exact gradient for its own
    embeddings. DistributedDataParallel averages over processes: multiply by their number before the backward pass.
    """

    def __init__(self, settings: LossSettings) -> None:
        super().__init__()
        self.name, self.settings = settings.loss, gravis_settings(settings)

    def forward(self, embeddings: Tensor) -> Tensor:
        group = torch.distributed.group.WORLD if torch.distributed.is_initialized() else None
        if self.name == "nt-xent":
            return nt_xent_loss(embeddings, temperature=self.settings.temperature, process_group=group)
        return grouping_loss(embeddings, self.settings, process_group=group)
