"""SigLIP in dense PyTorch, from its formula: the reference for the faster backends."""

from functools import partial

from torch import Tensor
from torch.nn.functional import logsigmoid, one_hot

from gravis_kernels.towers.reference import differentiated


def pair_losses(of_images: Tensor, of_texts: Tensor, match: Tensor) -> Tensor:
    """Sum of an image's binary cross entropies over all texts, of which only its own is a match.

    of_images: (A, B), logits of an image and all texts. match: (A,), the column of its own text. Returns (A,),
    differentiable, in the dtype of its input.
    """
    signs = 2 * one_hot(match, of_images.shape[1]).to(of_images) - 1
    return -logsigmoid(signs * of_images).sum(1)


loss_and_gradient = partial(differentiated, pair_losses)
