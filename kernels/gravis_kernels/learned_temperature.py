"""A temperature that is a tensor and may learn, for losses in which similarities occur only as s / t.

Their value at temperature t is that at temperature 1 of embeddings divided by the root of t, through which autograd
brings t its exact gradient.
"""

from typing import TypeGuard

import torch
from torch import Tensor

from gravis_kernels.gravis.compute import precision_of


def divide_by_root(
    embeddings: Tensor, temperature: Tensor, normalize: bool, extra_negatives: Tensor | None
) -> Tensor:
    """Embeddings (..., dim), normalized if asked for, times temperature ** -0.5, in float32 (float64 for float64).

    Raises:
        ValueError: a temperature of more than one number, or beside extra negatives, which would bring it no gradient.
    """
    if temperature.numel() != 1:
        raise ValueError(f"temperature must be one number, got shape {tuple(temperature.shape)}")
    if extra_negatives is not None:
        raise ValueError(
            "a temperature that learns gets no gradient from extra_negatives: leave one of them out"
        )
    rows = embeddings.to(precision_of(embeddings))
    if normalize:
        lengths = torch.linalg.vector_norm(rows, dim=-1, keepdim=True)
        rows = rows / lengths.masked_fill(lengths == 0, torch.inf)  # all zero stays so, and gets no gradient
    return rows * temperature.to(rows).reshape(()).rsqrt()


def divides(temperature: Tensor | float, extra_negatives: Tensor | None) -> TypeGuard[Tensor]:
    """Whether to divide by its root: a tensor, so that all processes do alike, whether or not it learns in each; but
    not a constant beside extra negatives, which is a number like others."""
    return isinstance(temperature, Tensor) and (extra_negatives is None or temperature.requires_grad)
