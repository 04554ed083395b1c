"""The matches' part of CLIP, added once the sums over all other logits are known."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


@dataclass(frozen=True, slots=True)
class Matches:
    """For own pairs: `loss`, the sum of their losses; `logs`, (own pairs, 2), log-sum-exp of all logits of image and
    text; `slopes`, (own pairs,), d(loss)/d(logit of the match)."""

    loss: Tensor
    logs: Tensor
    slopes: Tensor


def add_matches(pairs: Tensor, others: Tensor) -> Matches:
    """pairs: (own pairs, 2, dim); others: (own pairs, 2), log-sum-exp of all logits except the match."""
    match = pairs.to(others.dtype).prod(1).sum(1)[:, None]
    lead = match - others
    return Matches(
        loss=-logsigmoid(lead).mean(1).sum(),
        logs=torch.logaddexp(match.expand_as(others), others),
        slopes=-torch.sigmoid(-lead).mean(1),
    )
