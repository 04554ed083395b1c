"""The walk over tiles of logits that the streaming losses of two towers share."""

from collections.abc import Iterator

import torch
from torch import Tensor

from gravis_kernels.gravis.pairs import TILE


def tiles_of_logits(columns: Tensor, bias: Tensor, own: slice) -> Iterator[tuple[slice, slice, Tensor]]:
    """All of an image and a text of which one is own: ranges of images and of texts, and logits [images, texts].

    columns: (B, 2, dim). A range lies within the own pairs or outside. The logit of a match is -inf: as one of few, it
    is added apart, so that no rounding of the others' sum touches it.
    """
    outside = [*_ranges(0, own.start), *_ranges(own.stop, len(columns))]
    inside = _ranges(own.start, own.stop)
    for images in inside + outside:
        for texts in inside if images in outside else inside + outside:
            logits = (columns[images, 0] @ columns[texts, 1].T).add_(bias)
            if images == texts:
                logits.diagonal().fill_(-torch.inf)
            yield images, texts, logits


def pull(gradient: Tensor, columns: Tensor, images: slice, texts: slice, slopes: Tensor) -> None:
    """Add to the gradient (B, 2, dim), complete for own pairs alone, what d(loss)/d(logits) of a tile gives."""
    gradient[images, 0].addmm_(slopes, columns[texts, 1])
    gradient[texts, 1].addmm_(slopes.T, columns[images, 0])


def _ranges(start: int, stop: int) -> list[slice]:
    return [slice(first, min(first + TILE, stop)) for first in range(start, stop, TILE)]
