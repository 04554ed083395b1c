"""Settings, shapes and measures that the tests of every backend share."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from gravis_kernels import GravisSettings, gravis_loss
from torch import Tensor
from torch.nn.functional import normalize, softplus

HINGE: dict[str, Any] = {"margin": 0.5, "attention_temperature": 0.1, "negatives": "mean", "penalty": "hinge"}

# one of every kind of computation; names are pytest ids
SETTINGS: dict[str, dict[str, Any]] = {
    "softmax-hinge": HINGE,
    "softmax-hinge-detached": {**HINGE, "detach_attention": True, "margin": 0.2},
    "uniform-hinge": {**HINGE, "attention": "uniform", "margin": 1.0},
    "softmax-softplus": {
        "negatives": "mean",
        "penalty": "softplus",
        "margin": 0.5,
        "attention_temperature": 0.1,
    },
    "uniform-sigmoid": {"attention": "uniform", "negatives": "mean", "penalty": "sigmoid", "margin": 0.5},
    "softmax-lse-hinge": {**HINGE, "negatives": "logsumexp"},
    "softmax-lse-softplus": {"negatives": "logsumexp", "penalty": "softplus", "margin": 0.1},
    "nt-xent": {"attention": "uniform", "negatives": "logsumexp", "penalty": "softplus", "margin": 0.0},
    "rank": {"attention": "rank", "negatives": "mean", "penalty": "sigmoid", "margin": 0.0},
}

# (sources, views, dim): two sources, few and many views, one row less and more than tiles of 64 and 128
SHAPES: list[tuple[int, int, int]] = [
    (2, 2, 16),
    (2, 33, 16),
    (21, 3, 64),
    (32, 2, 96),
    (13, 5, 128),
    (7, 20, 192),
    (43, 3, 24),
    (2, 33, 384),
]

TEMPERATURES = (0.05, 0.5, 1.0)


@dataclass(frozen=True)
class Result:
    loss: Tensor
    gradient: Tensor


def make_embeddings(
    sources: int,
    views: int,
    dim: int,
    *,
    spread: float = 1.5,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Views scattered around the center of their source: the larger the spread, the harder the positives."""
    generator = torch.Generator().manual_seed(seed)
    centers = torch.randn(sources, 1, dim, generator=generator, dtype=torch.float64)
    noise = torch.randn(sources, views, dim, generator=generator, dtype=torch.float64)
    return (centers + spread * noise).to(dtype)


def evaluate(embeddings: Tensor, **arguments: Any) -> Result:
    """The loss and its gradient for the embeddings, both on the CPU in float64."""
    leaf = embeddings.detach().requires_grad_()  # not a copy: what surrounds it in memory stays
    loss = gravis_loss(leaf, **arguments)
    loss.backward()
    assert leaf.grad is not None
    return Result(loss.detach().double().cpu(), leaf.grad.double().cpu())


def loop_over_anchors(
    embeddings: Tensor, labels: Tensor, extra: Tensor, settings: GravisSettings
) -> tuple[Tensor, Tensor]:
    """The formulas of `gravis_loss` for one anchor after the other: l_i, 0 without positives, and which have any.

    embeddings: (rows, dim); labels: (rows,); extra: (any number, dim), negatives of every row.
    """
    z, q, t = normalize(embeddings, dim=1), normalize(extra, dim=1), settings.temperature
    phi = {
        "hinge": torch.relu,
        "softplus": lambda x: t * softplus(x / t),
        "sigmoid": lambda x: torch.sigmoid(x / t),
    }
    losses, row = [], torch.arange(len(z))
    for i, anchor in enumerate(z):
        s = z @ anchor
        s_n = torch.cat([s[labels != labels[i]], q @ anchor])
        s_j = s[(labels == labels[i]) & (row != i)]
        if len(s_j) == 0:
            losses.append(0 * s.sum())
        elif settings.attention == "rank":
            own = s[labels == labels[i]]
            above = torch.stack([torch.sigmoid((s_n - s_ij) / t).sum() for s_ij in own])
            ranks = torch.stack([0.5 + torch.sigmoid((own - s_ij) / t).sum() for s_ij in own])  # 1/2 for k = j
            losses.append((above / (ranks + above)).mean())
        else:
            hardest = t * torch.logsumexp(s_n / t, 0)
            x = s_n[:, None] if settings.negatives == "mean" else hardest[None, None]
            hardness = phi[settings.penalty](x - s_j + settings.margin).mean(0)
            weights = s_j.detach() if settings.detach_attention else s_j
            if settings.attention == "uniform":
                weights = torch.zeros_like(s_j)
            losses.append((torch.softmax(weights / settings.attention_temperature, 0) * hardness).sum())
    return torch.stack(losses), (labels[:, None] == labels).sum(1) > 1


def relative_error(actual: Tensor, expected: Tensor) -> float:
    """Root mean square of the difference over that of the expectation, which must not be zero."""
    return float((actual.double() - expected.double()).norm() / expected.double().norm())


def without_rounding(rows: Tensor) -> Tensor:
    """Rows (B, dim) in steps of 2^-8 of the longest's length: float32 holds their similarities exactly.

    Elsewhere rounding moves some s_in - s_ij + margin across the kink of the hinge, where both slopes are right.
    """
    step = 2.0 ** round(math.log2(rows.norm(dim=1).max()) - 8)
    return (rows / step).round() * step


def surrounded_by_nan(embeddings: Tensor) -> Tensor:
    """The same values, contiguous, inside a buffer of NaN: reading past either end shows in the result."""
    rows = embeddings.flatten(0, -2)
    buffer = torch.full((len(rows) + 512, rows.shape[1]), torch.nan, dtype=rows.dtype, device=rows.device)
    inside = buffer[256 : 256 + len(rows)]
    inside.copy_(rows)
    return inside.view(embeddings.shape)
