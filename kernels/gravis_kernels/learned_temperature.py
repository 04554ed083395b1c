"""Learnable temperatures, and their absorption in losses that depend on similarities only through s / t.

The loss at temperature t equals the loss at temperature 1 of embeddings divided by sqrt(t), so that autograd gives t
its exact gradient.
"""

import math

import torch
from torch import Tensor, nn

from gravis_kernels.batch import normalized
from gravis_kernels.gravis.compute import precision_of
from gravis_kernels.settings import check_positive


class LearnedTemperature(nn.Module):
    """A temperature to learn, for the losses of this package: exp of a parameter, kept within bounds.

        loss = NTXentLoss(temperature=LearnedTemperature(0.1))

    Give the loss's parameters to the optimizer, without weight decay, which would pull the temperature to 1. Like
    CLIP's logit scale the parameter is clamped when it is used, so that it can move back from a bound.
    """

    def __init__(self, initial: float = 0.1, bounds: tuple[float, float] = (0.01, 1.0)) -> None:
        super().__init__()
        low, high = (check_positive("bounds", bound) for bound in bounds)
        if not low <= check_positive("initial", initial) <= high:
            raise ValueError(f"initial must be within bounds, from {low} to {high}, got {initial}")
        self.bounds = low, high
        self.log = nn.Parameter(torch.tensor(math.log(initial)))

    def forward(self) -> Tensor:
        """The temperature, a scalar."""
        with torch.no_grad():
            self.log.clamp_(*map(math.log, self.bounds))
        return self.log.exp()

    def extra_repr(self) -> str:
        return f"{self.log.exp().item():.3g}, bounds={self.bounds}"


def is_learned(temperature: Tensor | float) -> bool:
    return isinstance(temperature, Tensor) and temperature.requires_grad


def check_temperature(temperature: Tensor) -> Tensor:
    """The tensor as a scalar; ValueError unless it is one number and positive (not checked on a GPU: synchronizes)."""
    if temperature.numel() != 1:
        raise ValueError(f"temperature must be one number, got shape {tuple(temperature.shape)}")
    if temperature.is_cpu and not torch.compiler.is_compiling():
        check_positive("temperature", temperature.detach())
    return temperature.reshape(())


def scalar(temperature: Tensor | float, rows: Tensor) -> Tensor | float:
    """The checked temperature, a tensor in the dtype of the rows."""
    if isinstance(temperature, Tensor):
        return check_temperature(temperature).to(rows)
    return check_positive("temperature", temperature)


def absorb(
    embeddings: Tensor, temperature: Tensor | float, normalize: bool, extra_negatives: Tensor | None
) -> tuple[Tensor, float, bool]:
    """Absorb a tensor temperature into the embeddings; returns embeddings, temperature and whether to normalize.

    Returns a number unchanged. For a tensor, returns the embeddings (..., dim), normalized if requested, times
    temperature ** -0.5 in float32 (float64 for float64), with temperature 1. A tensor is absorbed even if it does not
    require a gradient, so that all processes do the same; with extra negatives it is then used as a number.
    """
    if not isinstance(temperature, Tensor):
        return embeddings, check_positive("temperature", temperature), normalize
    temperature = check_temperature(temperature)
    if extra_negatives is not None:
        return embeddings, float(temperature), normalize
    rows = embeddings.to(precision_of(embeddings))
    if normalize:
        rows, _ = normalized(rows)
    return rows * temperature.to(rows).rsqrt(), 1.0, False
