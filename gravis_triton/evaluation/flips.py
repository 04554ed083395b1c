"""Test-time augmentation by flips: a lesion has no up and no left."""

from collections.abc import Callable

import torch
from torch import Tensor

_FLIPS: tuple[tuple[int, ...], ...] = ((), (-1,), (-2,), (-2, -1))


def predict_with_flips(predict: Callable[[Tensor], Tensor], images: Tensor, *, masks: bool) -> Tensor:
    """The mean of what `predict` says of images (batch, 3, height, width), of their mirror images left to right and
    upside down, and of both at once.

    masks: predictions are pictures (..., height, width) and are flipped back before they are averaged; else they are
    vectors (batch, classes). Let `predict` return probabilities, not logits, for the mean to be one.
    """
    predictions = [
        predict(images.flip(sides)).flip(sides) if masks else predict(images.flip(sides)) for sides in _FLIPS
    ]
    return torch.stack(predictions).mean(0)
