"""The losses that pre-training can minimise, by name."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import TypeVar

import torch.distributed
from gravis_kernels import gravis_loss, nt_xent_loss
from gravis_kernels.settings import GravisSettings
from torch import Tensor, nn

from gravis_triton.errors import UserError
from gravis_triton.settings import LossSettings, flag

Settings = TypeVar("Settings", bound=LossSettings)


@dataclass(frozen=True, slots=True)
class _Loss:
    """A named corner of the GraVIS family, and which of its settings may be changed."""

    settings: GravisSettings
    tunable: tuple[str, ...]


_LOSSES: Mapping[str, _Loss] = {
    "gravis": _Loss(
        GravisSettings(
            attention="softmax",
            attention_temperature=0.5,
            negatives="logsumexp",
            penalty="softplus",
            margin=0.0,
            temperature=0.2,
        ),
        ("margin", "attention", "attention_temperature", "negatives", "penalty", "temperature"),
    ),
    "gravis-rank": _Loss(
        GravisSettings(attention="rank", negatives="mean", penalty="sigmoid", margin=0.0, temperature=0.2),
        ("temperature",),
    ),
    "nt-xent": _Loss(
        GravisSettings(
            attention="uniform", negatives="logsumexp", penalty="softplus", margin=0.0, temperature=0.2
        ),
        ("temperature",),
    ),
    "triplet": _Loss(
        GravisSettings(attention="uniform", negatives="mean", penalty="hinge", margin=0.5),
        ("margin",),
    ),
}


def resolve_loss(settings: Settings) -> Settings:
    """The settings with every None of the loss replaced by what the named loss has there.

    Raises UserError for a setting that the loss does not have, and for a mix that is no loss.
    """
    loss = _LOSSES[settings.loss]
    for field in fields(LossSettings):
        if field.name not in ("loss", *loss.tunable) and getattr(settings, field.name) is not None:
            others = ", ".join(flag(name) for name in loss.tunable)
            raise UserError(
                f"{flag(field.name)} has no effect on --loss {settings.loss}, which has {others}: drop it"
            )
    chosen = {name: getattr(settings, name) for name in loss.tunable}
    defaults = {name: getattr(loss.settings, name) for name in loss.tunable}
    resolved = replace(
        settings, **{name: defaults[name] if chosen[name] is None else chosen[name] for name in chosen}
    )
    if resolved.attention == "rank":
        raise UserError("--attention rank is a loss of its own: use --loss gravis-rank")
    if resolved.penalty == "sigmoid" and resolved.negatives == "logsumexp":
        raise UserError("--penalty sigmoid is for --negatives mean: choose hinge or softplus for logsumexp")
    for name in ("temperature", "attention_temperature"):
        value = getattr(resolved, name)
        if value is not None and value <= 0:
            raise UserError(f"{flag(name)} must be positive, not {value}")
    return resolved


def gravis_settings(settings: LossSettings) -> GravisSettings:
    """The member of the GraVIS family that resolved settings name."""
    loss = _LOSSES[settings.loss]
    return replace(loss.settings, **{name: getattr(settings, name) for name in loss.tunable})


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
        return gravis_loss(embeddings, **asdict(self.settings), process_group=group)
