"""Iteration over tiles of similarities, shared by the streaming losses: every unordered pair of own rows once."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

Visit = Callable[[slice, Tensor], Tensor | None]

TILE = 384  # a tile and its temporaries fit in the cache: same speed at 256, slower from 512 on


class Pair(NamedTuple):
    """Tiles of rows and of others with their similarities, [rows, others], -inf where both belong to one source.

    both: the others are own rows, too, and this pair of tiles is visited only once.
    """

    rows: slice
    others: slice
    both: bool
    similarities: Tensor


def pairs(columns: Tensor, own: slice, views: int, batch: int) -> Iterator[Pair]:
    """All pairs of an own row and a column, tile by tile; columns from `batch` on are extra negatives."""
    own_tiles = _tiles(own.start, own.stop, views)
    others_of_batch = _tiles(0, own.start, views) + _tiles(own.stop, batch, views)
    other_tiles = others_of_batch + _tiles(batch, len(columns), views)
    for index, rows in enumerate(own_tiles):
        mutual = [(tile, rows != tile) for tile in own_tiles[index:]]  # already paired with earlier tiles
        for others, both in mutual + [(tile, False) for tile in other_tiles]:
            similarities = columns[rows] @ columns[others].T
            if rows == others:
                _exclude_own_source(similarities, views)
            yield Pair(rows, others, both, similarities)


def sweep(columns: Tensor, own: slice, views: int, batch: int, visit: Visit, need_gradient: bool) -> Tensor | None:
    """Visit all pairs of an own row and a column, and return the gradient of own rows from the slopes.

    Columns from `batch` on are extra negatives, not anchors.
    """
    gradient = torch.zeros_like(columns[own]) if need_gradient else None
    for rows, others, both, similarities in pairs(columns, own, views, batch):
        forward = backward = visit(rows, similarities)
        if rows != others:
            visited = both or (need_gradient and others.start < batch)
            backward = visit(others, similarities.T.contiguous()) if visited else None
        slopes = _both_directions(forward, backward)
        if gradient is not None and slopes is not None:
            accumulate_grad(gradient, columns, own, rows, others, both, slopes)
    return gradient


def accumulate_grad(
    gradient: Tensor, columns: Tensor, own: slice, rows: slice, others: slice, both: bool, slopes: Tensor
) -> None:
    """Add the contribution of a pair of tiles to the gradient of own rows; slopes: both directions summed."""
    gradient[rows.start - own.start : rows.stop - own.start].addmm_(slopes, columns[others])
    if both:
        gradient[others.start - own.start : others.stop - own.start].addmm_(slopes.T, columns[rows])


def _tiles(start: int, stop: int, views: int) -> list[slice]:
    """Ranges of whole sources, so that views of the same source meet only in diagonal tiles."""
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
