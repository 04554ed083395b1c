"""NT-Xent for several views in dense PyTorch, from its own formula."""

import torch
from torch import Tensor


def anchor_losses(embeddings: Tensor, views: int, temperature: float) -> Tensor:
    """l_i of every anchor: mean over positives j of -log(e_ij / (e_ij + sum over negatives n of e_in)).

    e_ij = exp(<z_i, z_j> / temperature). embeddings: (sources * views, dim), grouped by source.
    Returns (sources * views,), differentiable, in the dtype of its input.
    """
    logits = embeddings @ embeddings.T / temperature
    anchors = torch.arange(len(logits), device=logits.device)
    same_source = anchors[:, None] // views == anchors // views
    negatives = logits.masked_fill(same_source, -torch.inf).logsumexp(1, keepdim=True)
    cross_entropy = torch.logaddexp(logits, negatives) - logits
    positive = same_source & (anchors[:, None] != anchors)
    return cross_entropy.masked_fill(~positive, 0).sum(1) / (views - 1)
