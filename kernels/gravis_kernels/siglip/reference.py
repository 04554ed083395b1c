"""SigLIP in dense PyTorch, from its formula: the reference for the faster backends."""

from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from gravis_kernels.towers.reference import differentiated


def pair_losses(logits: Tensor) -> Tensor:
    """Sum of an image's binary cross entropies over all texts, of which only its own is a match.

    logits: (B, B), images in rows. Returns (B,), differentiable, in the dtype of its input.
    """
    signs = 2 * torch.eye(len(logits), dtype=logits.dtype, device=logits.device) - 1
    return -logsigmoid(signs * logits).sum(1)


loss_and_gradient = partial(differentiated, pair_losses)
