"""The GraVIS losses in dense PyTorch, straight from their formulas: the reference for every faster backend.

Memory grows with views * (sources * views)**2, so this is for small batches, tests and float64 checks.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from gravis_kernels.settings import GravisSettings, Penalty


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
    positives = similarities.unflatten(1, (-1, views))[
        anchors, source
    ]  # [B, K], including the anchor's own view
    negatives = similarities[source[:, None] != source].view(len(anchors), 1, -1)  # [B, 1, B - K]
    if extra_negatives is not None:
        negatives = torch.cat([negatives, (embeddings @ extra_negatives.T)[:, None]], 2)  # [B, 1, B - K + M]
    own = view[:, None] == torch.arange(views, device=view.device)
    return _losses(positives, torch.ones_like(own), own, negatives, None, settings)


def row_losses(
    similarities: Tensor, positive: Tensor, negative: Tensor, most: int, settings: GravisSettings
) -> Tensor:
    """l_i of anchors with any number of positives, 0 without one; the temperature may be a tensor to differentiate by.

    similarities: (anchors, columns). positive, negative: bool, the same shape; the anchor itself is neither. most: at
    least the largest number of rows of a source.
    """
    same = ~negative
    members = same.to(similarities.dtype).topk(most, dim=1).indices  # [A, K]
    member, own = same.gather(1, members), ~positive.gather(1, members)
    return _losses(
        similarities.gather(1, members),
        member,
        own & member,
        similarities[:, None],
        negative[:, None],
        settings,
    )


def _losses(
    positives: Tensor,
    member: Tensor,
    own: Tensor,
    negatives: Tensor,
    negative: Tensor | None,
    settings: GravisSettings,
) -> Tensor:
    """positives: [A, K], of which `member` exist and `own` is the anchor; negatives: [A, 1, N], those of `negative`."""
    if settings.attention == "rank":
        return _one_minus_smooth_average_precision(
            positives, member, negatives, negative, settings.temperature
        )
    attention = _attention(positives, member & ~own, settings)
    if settings.negatives == "mean":
        penalties = _penalty(negatives - positives[:, :, None] + settings.margin, settings)
        hardness = _sum(penalties, negative) / (
            negatives.shape[2] if negative is None else negative.sum(2).clamp(min=1)
        )
    else:
        t = settings.temperature
        logits = negatives / t
        if negative is not None:
            logits = logits.masked_fill(
                ~negative, torch.finfo(logits.dtype).min / 2
            )  # finite, if there is none
        hardness = _penalty(t * logits.logsumexp(2) - positives + settings.margin, settings)
    return (attention * hardness).sum(1)


def _sum(values: Tensor, present: Tensor | None) -> Tensor:
    return (values if present is None else values.masked_fill(~present, 0)).sum(-1)


def _one_minus_smooth_average_precision(
    positives: Tensor, member: Tensor, negatives: Tensor, negative: Tensor | None, temperature: float
) -> Tensor:
    above = _sum(torch.sigmoid((negatives - positives[:, :, None]) / temperature), negative)
    pairs = torch.sigmoid((positives[:, None, :] - positives[:, :, None]) / temperature)
    rank_among_positives = 1 + _sum(pairs, member[:, None]) - 0.5  # without the sigmoid(0) of k = j
    return _sum(above / (rank_among_positives + above), member) / member.sum(1)


def _attention(positives: Tensor, positive: Tensor, settings: GravisSettings) -> Tensor:
    count = positive.sum(1, keepdim=True)
    if settings.attention == "uniform":
        return positive.to(positives.dtype) / count.clamp(min=1)
    if settings.detach_attention:
        positives = positives.detach()
    logits = positives / settings.attention_temperature
    # without positives: any finite logits, and no attention
    return logits.masked_fill(~positive & (count > 0), -torch.inf).softmax(1) * positive


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
