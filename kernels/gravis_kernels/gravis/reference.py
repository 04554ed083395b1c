"""The GraVIS losses in dense PyTorch, straight from their formulas: the reference for every faster backend.

Memory grows with views * (sources * views)**2, so this is for small batches, tests and float64 checks.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from gravis_kernels.settings import GravisSettings, Penalty

ABSENT = -1e30  # a similarity without effect; unlike infinity, times 0 it is 0


def anchor_losses(
    embeddings: Tensor, views: int, settings: GravisSettings, extra_negatives: Tensor | None = None
) -> Tensor:
    """l_i of every anchor, differentiable, in the dtype of its input.

    embeddings: (sources * views, dim), grouped by source. extra_negatives: (any number, dim), of no source. See
    `gravis_kernels.gravis_loss` for the formulas. Returns (sources * views,).
    """
    anchors = torch.arange(embeddings.shape[0], device=embeddings.device)
    source, view = anchors // views, anchors % views
    similarities = embeddings @ embeddings.T
    positives = similarities.unflatten(1, (-1, views))[anchors, source]  # [B, K], including the anchor's own view
    negatives = similarities[source[:, None] != source].view(len(anchors), -1)  # [B, B - K]
    if extra_negatives is not None:
        negatives = torch.cat([negatives, embeddings @ extra_negatives.T], 1)  # [B, B - K + M]
    own = view[:, None] == torch.arange(views, device=view.device)
    return losses_of(positives, torch.ones_like(own), ~own, negatives, negatives.shape[1], settings)


def losses_of(
    positives: Tensor,
    member: Tensor,
    positive: Tensor,
    negatives: Tensor,
    count: int | Tensor,
    settings: GravisSettings,
) -> Tensor:
    """l_i of A anchors from similarities. Settings may hold a tensor as temperature, to differentiate by.

    positives: (A, K), to the rows of an anchor's source, of which `member` (A, K) exist and `positive` (A, K) are not
    the anchor itself. negatives: (A, N), `ABSENT` for what is none; count: their number, or (A, 1).
    """
    if settings.attention == "rank":
        return _one_minus_smooth_average_precision(positives, member, negatives, settings.temperature)
    attention = _attention(positives, positive, settings)
    if settings.negatives == "mean":
        violations = negatives[:, None] - positives[:, :, None] + settings.margin
        hardness = _penalty(violations, settings).sum(2) / count
    else:
        t = settings.temperature
        lse = t * torch.logsumexp(negatives / t, dim=1, keepdim=True)
        hardness = _penalty(lse - positives + settings.margin, settings)
    return (attention * hardness).sum(1)


def _one_minus_smooth_average_precision(
    positives: Tensor, member: Tensor, negatives: Tensor, temperature: float
) -> Tensor:
    above = torch.sigmoid((negatives[:, None] - positives[:, :, None]) / temperature).sum(2)
    pairs = torch.sigmoid((positives[:, None, :] - positives[:, :, None]) / temperature) * member[:, None]
    rank_among_positives = 1 + pairs.sum(2) - 0.5  # without the sigmoid(0) of k = j
    return (above / (rank_among_positives + above) * member).sum(1) / member.sum(1)


def _attention(positives: Tensor, positive: Tensor, settings: GravisSettings) -> Tensor:
    if settings.attention == "uniform":
        return positive / positive.sum(1, keepdim=True).clamp(min=1).to(positives.dtype)
    if settings.detach_attention:
        positives = positives.detach()
    logits = (positives / settings.attention_temperature).masked_fill(~positive, torch.finfo(positives.dtype).min)
    return logits.softmax(1) * positive  # 0 without positives


def _penalty(x: Tensor, settings: GravisSettings) -> Tensor:
    return _PENALTIES[settings.penalty](x, settings.temperature)


_PENALTIES: Mapping[Penalty, Callable[[Tensor, float], Tensor]] = {
    "hinge": lambda x, t: x.relu(),
    "softplus": lambda x, t: t * torch.logaddexp(x / t, x.new_zeros(())),
    "sigmoid": lambda x, t: torch.sigmoid(x / t),
}


def loss_and_gradient(
    columns: Tensor,
    row_start: int,
    rows: int,
    views: int,
    settings: GravisSettings,
    need_gradient: bool,
    *,
    extra: int = 0,
    **_: Any,  # arguments of the faster backends
) -> tuple[Tensor, Tensor | None]:
    """This process's share of the loss, and the gradient of the whole loss for its own rows.

    columns: (B + extra, dim), the views of all processes, grouped by source, then extra negatives; rows
    `row_start` to `row_start + rows` are this process's own. Returns the sum of l_i / B over own rows (scalar)
    and d(mean of all l_i) / d(own rows), shape (rows, dim), or None.
    """
    own, batch = slice(row_start, row_start + rows), len(columns) - extra
    with torch.set_grad_enabled(need_gradient):
        leaf = columns[:batch].detach().requires_grad_(need_gradient)
        losses = anchor_losses(leaf, views, settings, columns[batch:])
        gradient = torch.autograd.grad(losses.mean(), leaf)[0][own] if need_gradient else None
    return losses[own].detach().sum() / len(losses), gradient
