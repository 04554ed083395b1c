"""SupCon in dense PyTorch, from its formula: the reference for the faster backends."""

from typing import Any

import torch
from torch import Tensor

from gravis_kernels.gravis.reference import ABSENT


def anchor_losses(columns: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """l_i of every labeled row, 0 if it has no positives; differentiable, in the dtype of its input.

    columns: (rows + extra negatives, dim). labels: (rows,). Returns (rows,).
    """
    rows = len(labels)
    own = torch.eye(rows, len(columns), dtype=torch.bool, device=columns.device)
    logits = (columns[:rows] @ columns.T / temperature).masked_fill(own, -torch.inf)
    log_shares = logits - logits.logsumexp(1, keepdim=True)
    positive = (labels[:, None] == labels) & ~own[:, :rows]
    return -log_shares[:, :rows].masked_fill(~positive, 0).sum(1) / positive.sum(1).clamp(min=1)


def losses_of(positives: Tensor, positive: Tensor, negatives: Tensor, temperature: Tensor | float) -> Tensor:
    """l_i of A anchors from similarities, 0 without positives.

    positives: (A, K), of which `positive` (A, K) are some. negatives: (A, N), `ABSENT` for what is none.
    """
    present = positives.masked_fill(~positive, ABSENT)
    total = torch.logaddexp(*((s / temperature).logsumexp(1, keepdim=True) for s in (present, negatives)))
    return ((total - positives / temperature) * positive).sum(1) / positive.sum(1).clamp(min=1)


def loss_and_gradient(
    columns: Tensor,
    row_start: int,
    rows: int,
    labels: Tensor,
    temperature: float,
    need_gradient: bool,
    **_: Any,  # arguments of the faster backends
) -> tuple[Tensor, Tensor | None]:
    """This process's share of the loss, and the gradient of the whole loss for its own rows.

    columns: (B + M, dim), the rows of all processes, then extra negatives; rows `row_start` to `row_start + rows` are
    this process's own. labels: (B,). Returns a scalar and (rows, dim) or None.
    """
    own = slice(row_start, row_start + rows)
    _, group, counts = labels.unique(return_inverse=True, return_counts=True)
    anchors = (counts[group] > 1).sum().clamp(min=1)
    with torch.set_grad_enabled(need_gradient):
        leaf = columns.detach().requires_grad_(need_gradient)
        losses = anchor_losses(leaf, labels, temperature) / anchors
        gradient = torch.autograd.grad(losses.sum(), leaf)[0][own] if need_gradient else None
    return losses[own].detach().sum(), gradient
