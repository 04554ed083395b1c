"""CLIP in dense PyTorch, from its formula: the reference for the faster backends."""

from functools import partial

from torch import Tensor
from torch.nn.functional import cross_entropy

from gravis_kernels.towers.reference import differentiated


def pair_losses(of_images: Tensor, of_texts: Tensor, match: Tensor) -> Tensor:
    """Mean of a pair's two cross entropies: its text among all texts, and its image among all images.

    of_images: (A, B), logits of an image and all texts. of_texts: (A, B). match: (A,), the column of the pair's own.
    Returns (A,), differentiable, in the dtype of its input.
    """
    both = cross_entropy(of_images, match, reduction="none") + cross_entropy(of_texts, match, reduction="none")
    return both / 2


loss_and_gradient = partial(differentiated, pair_losses)
