"""NT-Xent for several views in dense PyTorch, from its own formula."""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


def anchor_losses(embeddings: Tensor, views: int, temperature: float) -> Tensor:
    """l_i of every anchor: mean over positives j of -log(e_ij / (e_ij + sum over negatives n of e_in)).

    e_ij = exp(<z_i, z_j> / temperature). embeddings: (sources * views, dim), grouped by source.
    Returns (sources * views,), differentiable, in the dtype of its input.
    """
    anchors = torch.arange(len(embeddings), device=embeddings.device)
    same_source = anchors[:, None] // views == anchors // views
    positive = same_source & (anchors[:, None] != anchors)
    return row_losses(embeddings @ embeddings.T / temperature, positive, ~same_source)


def row_losses(logits: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    """l_i of anchors with any number of positives, 0 without one.

    logits: (anchors, columns), similarities / temperature. positive, negative: bool, the same shape.
    """
    # finite, in case there is none
    negatives = logits.masked_fill(~negative, torch.finfo(logits.dtype).min / 2).logsumexp(1, keepdim=True)
    cross_entropy = -logsigmoid(logits - negatives)
    return cross_entropy.masked_fill(~positive, 0).sum(1) / positive.sum(1).clamp(min=1)
