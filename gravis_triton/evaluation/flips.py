"""Test-time augmentation by flips: a lesion has no up and no left."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

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


class FlipAveraged(nn.Module):
    """An encoder whose features are the mean over the four flips of an image."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.pretrained_cfg = encoder.pretrained_cfg  # tells which normalisation the pixels need

    def forward(self, images: Tensor) -> Tensor:
        return predict_with_flips(self.encoder, images, masks=False)
