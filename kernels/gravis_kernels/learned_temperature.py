"""Learnable temperature, for losses that depend on similarities only through s / t.

The loss at temperature t equals the loss at temperature 1 of embeddings divided by sqrt(t), so that autograd gives t
its exact gradient.
"""

import torch
from torch import Tensor

from gravis_kernels.batch import normalized
from gravis_kernels.gravis.compute import precision_of
from gravis_kernels.settings import check_positive


def absorb(
    embeddings: Tensor, temperature: Tensor | float, normalize: bool, extra_negatives: Tensor | None
) -> tuple[Tensor, float, bool]:
    """Absorb a tensor temperature into the embeddings; returns embeddings, temperature and whether to normalize.

    Returns a number unchanged. For a tensor, returns the embeddings (..., dim), normalized if requested, times
    temperature ** -0.5 in float32 (float64 for float64), with temperature 1. A tensor is absorbed even if it does not
    require a gradient, so that all processes do the same; with extra negatives it is then used as a number.

    Raises:
        ValueError: temperature has more than one element, is not positive (on a GPU not checked, as that would
            synchronize), or requires a gradient together with extra negatives.
    """
    if not isinstance(temperature, Tensor):
        return embeddings, check_positive("temperature", temperature), normalize
    if temperature.numel() != 1:
        raise ValueError(f"temperature must be one number, got shape {tuple(temperature.shape)}")
    if temperature.is_cpu and not torch.compiler.is_compiling():
        check_positive("temperature", temperature.detach())
    if extra_negatives is not None and temperature.requires_grad:
        raise ValueError(
            "a learnable temperature gets no gradient from extra_negatives: leave one of them out"
        )
    if extra_negatives is not None:
        return embeddings, float(temperature), normalize
    rows = embeddings.to(precision_of(embeddings))
    if normalize:
        rows, _ = normalized(rows)
    return rows * temperature.to(rows).reshape(()).rsqrt(), 1.0, False
