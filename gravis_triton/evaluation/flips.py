"""Test-time augmentation by flips."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

_FLIPS: tuple[tuple[int, ...], ...] = ((), (-1,), (-2,), (-2, -1))


def predict_with_flips(predict: Callable[[Tensor], Tensor], images: Tensor, *, masks: bool) -> Tensor:
    """Mean of the predictions for images (batch, 3, height, width) unflipped, flipped horizontally, vertically, and
    both ways.

    masks: predictions are masks (..., height, width), which are flipped back before averaging; otherwise they are
    vectors (batch, classes). `predict` should return probabilities, not logits, so that the mean is a probability.
    """
    predictions = [
        predict(images.flip(sides)).flip(sides) if masks else predict(images.flip(sides)) for sides in _FLIPS
    ]
    return torch.stack(predictions).mean(0)


class FlipAveraged(nn.Module):
    """An encoder whose features are the mean over the four flips of an image."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.pretrained_cfg = encoder.pretrained_cfg  # holds the normalization

    def forward(self, images: Tensor) -> Tensor:
        return predict_with_flips(self.encoder, images, masks=False)
