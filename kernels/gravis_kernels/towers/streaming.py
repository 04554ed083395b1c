"""Iteration over tiles of logits, shared by the streaming two-tower losses."""

from collections.abc import Iterator

import torch
from torch import Tensor

from gravis_kernels.gravis.pairs import TILE


def tiles_of_logits(columns: Tensor, bias: Tensor, own: slice) -> Iterator[tuple[slice, slice, Tensor]]:
    """All tiles in which images or texts are own: ranges of images and of texts, and logits [images, texts].

    columns: (B, 2, dim). A range lies within the own pairs or outside. The logit of a match is -inf: the few matches
    are added separately, unaffected by the rounding of the others' sum.
    """
    outside = [*_ranges(0, own.start), *_ranges(own.stop, len(columns))]
    inside = _ranges(own.start, own.stop)
    for images in inside + outside:
        for texts in inside if images in outside else inside + outside:
            logits = (columns[images, 0] @ columns[texts, 1].T).add_(bias)
            if images == texts:
                logits.diagonal().fill_(-torch.inf)
            yield images, texts, logits


def accumulate_grad(gradient: Tensor, columns: Tensor, images: slice, texts: slice, slopes: Tensor) -> None:
    """Add a tile's contribution to the gradient (B, 2, dim), complete only for own pairs; slopes: d(loss)/d(logits)."""
    gradient[images, 0].addmm_(slopes, columns[texts, 1])
    gradient[texts, 1].addmm_(slopes.T, columns[images, 0])


def _ranges(start: int, stop: int) -> list[slice]:
    return [slice(first, min(first + TILE, stop)) for first in range(start, stop, TILE)]
