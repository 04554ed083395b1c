"""The GraVIS losses in tiled PyTorch: any device, float32 or float64, memory O(B (dim + views)) plus a tile (with
negatives "logsumexp" plus up to 256 MiB of exponentials, see `logsumexp.KEPT`).

Similarities are visited tile by tile, every unordered pair of own rows once: a tile serves its rows as
anchors and, transposed, its columns. A `Visit` processes a tile: it takes the anchors' range and their
similarities [anchors, negatives] (-inf where both belong to one source), accumulates the sums it needs, and
returns the slopes d(loss)/d(similarity), or None if they are zero or not needed.

On a CPU, results are bitwise reproducible.
"""

import torch
from torch import Tensor

from gravis_kernels.distributed import Gather
from gravis_kernels.gravis.logsumexp import LogSumExp, PlainLogSumExp
from gravis_kernels.gravis.pairs import sweep
from gravis_kernels.gravis.penalties import Smooth, by_threshold, value_and_slope
from gravis_kernels.settings import SMALLEST_PLAIN_TEMPERATURE, GravisSettings


def loss_and_gradient(
    columns: Tensor,
    row_start: int,
    rows: int,
    views: int,
    settings: GravisSettings,
    need_gradient: bool,
    *,
    extra: int = 0,
    unit_rows: bool = False,
    gather: Gather | None = None,
) -> tuple[Tensor, Tensor | None]:
    """This process's share of the loss, and the gradient of the whole loss for its own rows.

    Same contract as `gravis_kernels.gravis.reference.loss_and_gradient`. unit_rows: no embedding is longer than 1.
    gather: gathers values of own rows from all processes.
    """
    own, batch = slice(row_start, row_start + rows), len(columns) - extra
    sources = columns[:batch].unflatten(0, (-1, views))
    positives = (sources @ sources.mT).flatten(0, 1)  # [B, K]
    if settings.attention == "rank":
        parts = _rank(columns, own, positives, settings, need_gradient)
    elif settings.negatives == "mean":
        parts = _mean(columns, own, positives, settings, need_gradient)
    else:
        plain = unit_rows and settings.temperature >= SMALLEST_PLAIN_TEMPERATURE
        parts = _logsumexp(columns, own, positives, settings, need_gradient, plain, gather)
    losses, positive_slopes, gradient = parts
    loss = losses.sum() / batch
    if gradient is None or positive_slopes is None:
        return loss, None
    slopes = positive_slopes.unflatten(0, (-1, views))
    gradient += ((slopes + slopes.mT) @ sources[own.start // views : own.stop // views]).flatten(0, 1)
    return loss, gradient


# l_i [rows], dL/ds_ij of the positives [rows, K], the negatives' part of the gradient [rows, D]
Parts = tuple[Tensor, Tensor | None, Tensor | None]


def _mean(columns: Tensor, own: slice, positives: Tensor, settings: GravisSettings, need_gradient: bool) -> Parts:
    batch, views = positives.shape
    attention = attention_weights(positives, settings)
    thresholds = positives - settings.margin
    negatives = len(columns) - views
    weights = attention / (batch * negatives) if need_gradient else None
    penalty = by_threshold(thresholds, weights, settings)
    gradient = sweep(columns, own, views, batch, penalty.visit, need_gradient)
    hardness, slopes = penalty.totals(own)
    hardness, attention = hardness / negatives, attention[own]
    losses = (attention * hardness).sum(1)
    if weights is None:
        return losses, None, None
    positive_slopes = -weights[own] * slopes + _attention_slopes(attention, hardness, losses, batch, settings)
    return losses, positive_slopes, gradient


def _logsumexp(
    columns: Tensor,
    own: slice,
    positives: Tensor,
    settings: GravisSettings,
    need_gradient: bool,
    plain: bool,
    gather: Gather | None,
) -> Parts:
    batch, views = positives.shape
    # a column's slopes for own rows need its own soft maximum: computed here unless other processes send it
    anchors = own if gather is not None or not need_gradient else slice(0, batch)
    negatives = (PlainLogSumExp if plain else LogSumExp)(columns, anchors, views, batch, settings.temperature)
    lse = negatives.values()
    attention = attention_weights(positives[anchors], settings)
    violations = lse[:, None] - positives[anchors] + settings.margin
    hardness, slopes = value_and_slope(violations, settings)
    losses = (attention * hardness).sum(1)
    mine = _shift(own, anchors)
    if not need_gradient:
        return losses[mine], None, None
    slopes = attention * slopes / batch
    weights = slopes.sum(1)
    if gather is not None:
        lse, weights = gather(torch.stack([lse, weights], 1)).unbind(1)
    positive_slopes = _attention_slopes(attention, hardness, losses, batch, settings) - slopes
    return losses[mine], positive_slopes[mine], negatives.gradient(own, lse, weights)


def _rank(columns: Tensor, own: slice, positives: Tensor, settings: GravisSettings, need_gradient: bool) -> Parts:
    batch, views = positives.shape
    # a column's slopes for own rows need its own ranks
    anchors = slice(0, batch) if need_gradient else own
    counting = Smooth(positives, None, "sigmoid", settings.temperature)
    sweep(columns, anchors, views, batch, counting.visit, need_gradient=False)
    above, _ = counting.totals(anchors)
    blocks = positives[anchors].view(-1, views)
    pairs = torch.sigmoid((blocks[:, None, :] - blocks[:, :, None]) / settings.temperature)  # [B, K, K]
    ranks = 0.5 + pairs.sum(2) + above  # the positives' rank is 1 + sum over k != j; k = j adds 0.5
    losses = (above / ranks).mean(1)
    if not need_gradient:
        return losses, None, None
    # dL/d(above) = (ranks - above) * per_rank, dL/d(rank among positives) = -above * per_rank
    per_rank = 1 / (batch * views * ranks.square())
    weights = (ranks - above) * per_rank
    weighing = Smooth(positives, weights, "sigmoid", settings.temperature)
    gradient = sweep(columns, own, views, batch, weighing.visit, need_gradient)
    _, slopes = weighing.totals(own)
    pairs = pairs[own]
    pair_slopes = (pairs - pairs.square()) / settings.temperature * (above * per_rank)[own][:, :, None]
    positive_slopes = -weights[own] * slopes + pair_slopes.sum(2) - pair_slopes.sum(1)
    return losses[own], positive_slopes, gradient


def attention_weights(positives: Tensor, settings: GravisSettings) -> Tensor:
    """a_ij, (B, K), 0 for the own view; positives: s_ij, (B, K), including the own view."""
    batch, views = positives.shape
    own = torch.eye(views, dtype=torch.bool, device=positives.device).repeat(batch // views, 1)
    if settings.attention == "uniform":
        return (~own).to(positives.dtype) / (views - 1)
    return (positives / settings.attention_temperature).masked_fill(own, -torch.inf).softmax(1)


def _attention_slopes(
    attention: Tensor, hardness: Tensor, losses: Tensor, batch: int, settings: GravisSettings
) -> Tensor:
    """dL/ds_ij through a_ij."""
    if settings.attention == "uniform" or settings.detach_attention:
        return torch.zeros_like(attention)
    return attention * (hardness - losses[:, None]) / (settings.attention_temperature * batch)


def _shift(rows: slice, origin: slice) -> slice:
    return slice(rows.start - origin.start, rows.stop - origin.start)
