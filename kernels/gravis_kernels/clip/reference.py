"""CLIP in dense PyTorch, from its formula: the reference for the faster backends."""

from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from gravis_kernels.towers.reference import differentiated


def pair_losses(logits: Tensor) -> Tensor:
    """Mean of a pair's two cross entropies: its text among all texts, and its image among all images.

    logits: (B, B), images in rows. Returns (B,), differentiable, in the dtype of its input.
    """
    pair = torch.arange(len(logits), device=logits.device)
    both = cross_entropy(logits, pair, reduction="none") + cross_entropy(logits.T, pair, reduction="none")
    return both / 2


loss_and_gradient = partial(differentiated, pair_losses)
