"""NT-Xent for several views in dense PyTorch, from its own formula."""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from gravis_kernels.gravis.reference import ABSENT


def anchor_losses(embeddings: Tensor, views: int, temperature: float) -> Tensor:
    """l_i of every anchor: mean over positives j of -log(e_ij / (e_ij + sum over negatives n of e_in)).

    e_ij = exp(<z_i, z_j> / temperature). embeddings: (sources * views, dim), grouped by source.
    Returns (sources * views,), differentiable, in the dtype of its input.
    """
    anchors = torch.arange(len(embeddings), device=embeddings.device)
    source, view = anchors // views, anchors % views
    similarities = embeddings @ embeddings.T
    positives = similarities.unflatten(1, (-1, views))[anchors, source]
    negatives = similarities.masked_fill(source[:, None] == source, ABSENT)
    return losses_of(positives, view[:, None] != torch.arange(views, device=view.device), negatives, temperature)


def losses_of(positives: Tensor, positive: Tensor, negatives: Tensor, temperature: Tensor | float) -> Tensor:
    """l_i of A anchors from similarities, 0 without positives.

    positives: (A, K), of which `positive` (A, K) are some. negatives: (A, N), `ABSENT` for what is none.
    """
    lse = (negatives / temperature).logsumexp(1, keepdim=True)
    cross_entropies = -logsigmoid(positives / temperature - lse) * positive
    return cross_entropies.sum(1) / positive.sum(1).clamp(min=1)
