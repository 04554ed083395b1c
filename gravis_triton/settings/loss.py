"""The pre-training loss."""

from dataclasses import dataclass
from typing import Annotated, Literal

from gravis_kernels.settings import Attention, Negatives, Penalty
from tyro.conf import arg

from gravis_triton.settings.ranges import Range

LossName = Literal["gravis", "gravis-rank", "nt-xent", "triplet"]

_OF_THE_LOSS = arg(help_behavior_hint="(default: set by --loss)")


@dataclass(frozen=True, kw_only=True)
class LossSettings:
    """The loss and its parameters, with the defaults of gravis_kernels."""

    loss: LossName = "gravis"
    """GraVIS, its rank attention variant, multi-view NT-Xent, or the batch-all triplet loss."""
    margin: Annotated[float | None, _OF_THE_LOSS] = None
    """Margin between the similarities of positives and negatives."""
    attention: Annotated[Attention | None, _OF_THE_LOSS] = None
    """How to weight the positives of an anchor."""
    attention_temperature: Annotated[float | None, Range(above=0), _OF_THE_LOSS] = None
    """Temperature of softmax attention; lower values focus on the most similar views."""
    negatives: Annotated[Negatives | None, _OF_THE_LOSS] = None
    """How to reduce over the negatives: mean penalty, or log-sum-exp (a soft hardest negative)."""
    penalty: Annotated[Penalty | None, _OF_THE_LOSS] = None
    """Penalty for a margin violation."""
    temperature: Annotated[float | None, Range(above=0), _OF_THE_LOSS] = None
    """Temperature of the penalty and of the log-sum-exp."""
