"""SigLIP in tiled PyTorch: any device, memory O(B dim) plus a tile."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from gravis_kernels.towers.streaming import accumulate_grad, tiles_of_logits


def loss_and_gradient(
    columns: Tensor, bias: Tensor, row_start: int, rows: int, need_gradient: bool, **_: Any
) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
    """Same contract as `gravis_kernels.siglip.reference.loss_and_gradient`."""
    own = slice(row_start, row_start + rows)
    match = columns[own].prod(1).sum(1) + bias
    loss, slope = -logsigmoid(match).sum(), -torch.sigmoid(-match).sum()
    gradient = torch.zeros_like(columns) if need_gradient else None
    for images, texts, logits in tiles_of_logits(columns, bias, own):
        mine = own.start <= images.start < own.stop
        if mine:
            loss -= logsigmoid(-logits).sum()
        if gradient is not None:
            slopes = logits.sigmoid_()
            slope += slopes.sum() if mine else 0
            accumulate_grad(gradient, columns, images, texts, slopes)
    if gradient is None:
        return loss / len(columns), None
    missing = torch.sigmoid(-match)[:, None, None]
    grads = gradient[own].addcmul_(missing, columns[own].flip(1), value=-1).div_(len(columns))
    return loss / len(columns), (grads, slope / len(columns))
