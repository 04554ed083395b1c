"""Two-tower losses in dense PyTorch: the gradient of a formula by autograd."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

# from the logits of images (A, B) and of texts (A, B), and the matches (A,), to the losses of A pairs among B
PairLosses = Callable[[Tensor, Tensor, Tensor], Tensor]


def differentiated(
    pair_losses: PairLosses,
    columns: Tensor,
    bias: Tensor,
    row_start: int,
    rows: int,
    need_gradient: bool,
    **_: Any,  # arguments of the faster backends
) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
    """This process's share of the loss, the gradient of the whole loss for own pairs, and of the share for the bias.

    columns: (B, 2, dim), the pairs of all processes; `row_start` to `row_start + rows` are this process's own. bias:
    (), added to the logits. Returns a scalar, and (rows, 2, dim) and a scalar, or None. The bias's gradient covers
    the logits of own images, so that the sum over processes is the gradient of the whole loss.
    """
    own = slice(row_start, row_start + rows)
    with torch.set_grad_enabled(need_gradient):
        leaves = columns.detach().requires_grad_(need_gradient)
        shifts = bias.expand(len(columns)).clone().requires_grad_(need_gradient)  # one bias per image
        logits = leaves[:, 0] @ leaves[:, 1].T + shifts[:, None]
        losses = pair_losses(logits, logits.T, torch.arange(len(columns), device=logits.device)) / len(columns)
        loss = losses[own].detach().sum()
        if not need_gradient:
            return loss, None
        gradient, by_image = torch.autograd.grad(losses.sum(), (leaves, shifts))
    return loss, (gradient[own], by_image[own].sum())
