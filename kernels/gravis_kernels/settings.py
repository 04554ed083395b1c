"""What distinguishes one loss of the family from another, as plain data."""

from dataclasses import dataclass
from typing import Literal

Attention = Literal["softmax", "rank", "uniform"]
Negatives = Literal["mean", "logsumexp"]
Penalty = Literal["hinge", "softplus", "sigmoid"]


@dataclass(frozen=True, slots=True)
class GravisSettings:
    """Settings of the GraVIS family, by default those of `gravis_kernels.gravis_loss`; its formulas are there.

    margin: m, in units of similarity.
    attention_temperature: tau_a of attention "softmax".
    temperature: t of the penalty and of the log-sum-exp; tau of attention "rank".
    """

    margin: float = 0.0
    attention: Attention = "softmax"
    attention_temperature: float = 0.5
    negatives: Negatives = "logsumexp"
    penalty: Penalty = "softplus"
    temperature: float = 0.2
    detach_attention: bool = False
