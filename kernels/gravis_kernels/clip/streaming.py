"""CLIP in tiled PyTorch: any device, memory O(B dim) plus a tile."""

import torch
from torch import Tensor

from gravis_kernels.clip.matches import add_matches
from gravis_kernels.distributed import Gather
from gravis_kernels.towers.streaming import accumulate_grad, tiles_of_logits


def loss_and_gradient(
    columns: Tensor,
    bias: Tensor,
    row_start: int,
    rows: int,
    need_gradient: bool,
    *,
    gather: Gather | None = None,
) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
    """Same contract as `gravis_kernels.clip.reference.loss_and_gradient`; softmax is invariant to the bias.

    gather: gathers values of own pairs from all processes.
    """
    own, no_bias = slice(row_start, row_start + rows), torch.zeros_like(bias)
    others = columns.new_full((2, len(columns)), -torch.inf)  # complete only for own pairs
    for images, texts, logits in tiles_of_logits(columns, no_bias, own):
        others[0, images] = torch.logaddexp(others[0, images], logits.logsumexp(1))
        others[1, texts] = torch.logaddexp(others[1, texts], logits.logsumexp(0))
    matches = add_matches(columns[own], others[:, own].T)
    loss = matches.loss / len(columns)
    if not need_gradient:
        return loss, None
    by_image, by_text = (matches.logs if gather is None else gather(matches.logs)).unbind(1)
    gradient = torch.zeros_like(columns)
    for images, texts, logits in tiles_of_logits(columns, no_bias, own):
        slopes = (logits - by_image[images, None]).exp_()
        slopes += logits.sub_(by_text[texts]).exp_()
        accumulate_grad(gradient, columns, images, texts, slopes)
    gradient = gradient[own].div_(2).addcmul_(matches.slopes[:, None, None], columns[own].flip(1))
    return loss, (gradient.div_(len(columns)), no_bias)
