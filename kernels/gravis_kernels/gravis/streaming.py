"""The GraVIS losses in tiled PyTorch: any device, memory O(B (dim + views)) plus a tile, float32 or float64.

Similarities are visited tile by tile, every unordered pair of own rows once: a tile serves its rows as
anchors and, transposed, its columns. What happens in a tile is a `Visit`: it takes the anchors' range and
their similarities [anchors, negatives] (-inf where both belong to one source), keeps the sums it needs, and
returns the slopes d(loss)/d(similarity), or None where they are zero or not asked for.

On a CPU the same input gives the same bits.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from gravis_kernels.gravis.penalties import Hinge, LogSumExp, Smooth, hinge, softplus
from gravis_kernels.settings import GravisSettings

Visit = Callable[[slice, Tensor], Tensor | None]

TILE = 384  # a tile and its temporaries stay in the cache: measured the same at 256, slower from 512 on


def loss_and_gradient(
    columns: Tensor, row_start: int, rows: int, views: int, settings: GravisSettings, need_gradient: bool
) -> tuple[Tensor, Tensor | None]:
    """Share of the own rows in the loss, and the gradient of the whole loss for them.

    The same contract as `gravis_kernels.gravis.reference.loss_and_gradient`.
    """
    own = slice(row_start, row_start + rows)
    sources = columns.unflatten(0, (-1, views))
    positives = (sources @ sources.mT).flatten(0, 1)  # [B, K]
    if settings.attention == "rank":
        parts = _rank(columns, own, positives, settings, need_gradient)
    elif settings.negatives == "mean":
        parts = _mean(columns, own, positives, settings, need_gradient)
    else:
        parts = _logsumexp(columns, own, positives, settings, need_gradient)
    losses, positive_slopes, gradient = parts
    loss = losses.sum() / len(columns)
    if gradient is None or positive_slopes is None:
        return loss, None
    slopes = positive_slopes.unflatten(0, (-1, views))
    gradient += ((slopes + slopes.mT) @ sources[own.start // views : own.stop // views]).flatten(0, 1)
    return loss, gradient


# l_i [rows], dL/ds_ij of the positives [rows, K], the negatives' part of the gradient [rows, D]
Parts = tuple[Tensor, Tensor | None, Tensor | None]


def _mean(
    columns: Tensor, own: slice, positives: Tensor, settings: GravisSettings, need_gradient: bool
) -> Parts:
    batch, views = positives.shape
    attention = attention_weights(positives, settings)
    thresholds = positives - settings.margin
    weights = attention / (batch * (batch - views)) if need_gradient else None
    penalty: Hinge | Smooth
    if settings.penalty == "hinge":
        penalty = Hinge(thresholds, weights)
    else:
        penalty = Smooth(thresholds, weights, settings.penalty, settings.temperature)
    gradient = _sweep(columns, own, views, penalty.visit, need_gradient)
    hardness, slopes = penalty.totals(own)
    hardness, attention = hardness / (batch - views), attention[own]
    losses = (attention * hardness).sum(1)
    if weights is None:
        return losses, None, None
    positive_slopes = -weights[own] * slopes + _attention_slopes(attention, hardness, losses, batch, settings)
    return losses, positive_slopes, gradient


def _logsumexp(
    columns: Tensor, own: slice, positives: Tensor, settings: GravisSettings, need_gradient: bool
) -> Parts:
    batch, views = positives.shape
    maximum = LogSumExp(batch, settings.temperature, like=columns)
    # a column's slopes for own rows need its own maximum
    anchors = slice(0, batch) if need_gradient else own
    _sweep(columns, anchors, views, maximum.visit, need_gradient=False)
    attention = attention_weights(positives, settings)
    violations = maximum.values()[:, None] - positives + settings.margin
    if settings.penalty == "hinge":
        hardness, slopes = hinge(violations)
    else:
        hardness, slopes = softplus(violations, settings.temperature)
    losses = (attention * hardness).sum(1)
    if not need_gradient:
        return losses[own], None, None
    slopes = attention * slopes / batch
    gradient = _sweep(columns, own, views, maximum.slopes_with(slopes.sum(1)), need_gradient)
    positive_slopes = _attention_slopes(attention, hardness, losses, batch, settings) - slopes
    return losses[own], positive_slopes[own], gradient


def _rank(
    columns: Tensor, own: slice, positives: Tensor, settings: GravisSettings, need_gradient: bool
) -> Parts:
    batch, views = positives.shape
    # a column's slopes for own rows need its own ranks
    anchors = slice(0, batch) if need_gradient else own
    counting = Smooth(positives, None, "sigmoid", settings.temperature)
    _sweep(columns, anchors, views, counting.visit, need_gradient=False)
    above, _ = counting.totals(anchors)
    blocks = positives[anchors].view(-1, views)
    pairs = torch.sigmoid((blocks[:, None, :] - blocks[:, :, None]) / settings.temperature)  # [B, K, K]
    ranks = 0.5 + pairs.sum(2) + above  # the positives' rank is 1 + sum over k != j; k = j gave 0.5
    losses = (above / ranks).mean(1)
    if not need_gradient:
        return losses, None, None
    # dL/d(above) = (ranks - above) * per_rank, dL/d(rank among positives) = -above * per_rank
    per_rank = 1 / (batch * views * ranks.square())
    weights = (ranks - above) * per_rank
    weighing = Smooth(positives, weights, "sigmoid", settings.temperature)
    gradient = _sweep(columns, own, views, weighing.visit, need_gradient)
    _, slopes = weighing.totals(own)
    pairs = pairs[own]
    pair_slopes = (pairs - pairs.square()) / settings.temperature * (above * per_rank)[own][:, :, None]
    positive_slopes = -weights[own] * slopes + pair_slopes.sum(2) - pair_slopes.sum(1)
    return losses[own], positive_slopes, gradient


def attention_weights(positives: Tensor, settings: GravisSettings) -> Tensor:
    """a_ij, (B, K), 0 for the own view; positives: s_ij, (B, K), the own view included."""
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


def _sweep(columns: Tensor, own: slice, views: int, visit: Visit, need_gradient: bool) -> Tensor | None:
    """Visit all pairs of an own row and a column; with slopes, their part in the gradient of the own rows."""
    gradient = torch.zeros_like(columns[own]) if need_gradient else None
    own_tiles = _tiles(own.start, own.stop, views)
    other_tiles = _tiles(0, own.start, views) + _tiles(own.stop, len(columns), views)
    for index, rows in enumerate(own_tiles):
        mutual = [(tile, True) for tile in own_tiles[index:]]  # earlier tiles have met this one
        for others, both in mutual + [(tile, False) for tile in other_tiles]:
            similarities = columns[rows] @ columns[others].T
            if rows == others:
                _exclude_own_source(similarities, views)
                forward = backward = visit(rows, similarities)
            else:
                forward = visit(rows, similarities)
                backward = visit(others, similarities.T.contiguous()) if both or need_gradient else None
            slopes = _both_directions(forward, backward)
            if gradient is None or slopes is None:
                continue
            gradient[_shift(rows, own)].addmm_(slopes, columns[others])
            if both and rows != others:
                gradient[_shift(others, own)].addmm_(slopes.T, columns[rows])
    return gradient


def _tiles(start: int, stop: int, views: int) -> list[slice]:
    """Ranges of whole sources, so that views of one source meet in diagonal tiles only."""
    size = max(1, TILE // views) * views
    return [slice(first, min(first + size, stop)) for first in range(start, stop, size)]


def _exclude_own_source(similarities: Tensor, views: int) -> None:
    sources = len(similarities) // views
    blocks = similarities.view(sources, views, sources, views)
    blocks.diagonal(dim1=0, dim2=2).fill_(-torch.inf)


def _both_directions(forward: Tensor | None, backward: Tensor | None) -> Tensor | None:
    if forward is None:
        return None if backward is None else backward.T
    return forward if backward is None else forward + backward.T


def _shift(rows: slice, own: slice) -> slice:
    return slice(rows.start - own.start, rows.stop - own.start)
