"""Baseline features without any learning."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

COLOR_HISTOGRAM = "color-histogram"
"""The value of `--encoder` for a `ColorHistogram`."""

_LEVELS = 16  # per channel
_JOINT_LEVELS = 4  # per channel, in the joint histogram
_THUMBNAIL = 8


class ColorHistogram(nn.Module):
    """Colors and their coarse layout: images (batch, 3, height, width) in [0, 1] to features (batch, 304).

    Square roots of the pixel fractions in a histogram per channel (3 x 16) and a joint histogram (4 x 4 x 4), then an
    8 x 8 thumbnail (3 x 64) divided by 8, so that each histogram and each channel of a white thumbnail has norm 1.
    It has the interface of a timm encoder: `head_hidden_size`, and a `pretrained_cfg` without normalization.
    """

    head_hidden_size = 3 * _LEVELS + _JOINT_LEVELS**3 + 3 * _THUMBNAIL**2

    def __init__(self) -> None:
        super().__init__()
        self.pretrained_cfg = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}

    def forward(self, images: Tensor) -> Tensor:
        channels = _levels(images, _LEVELS).flatten(0, 1).flatten(1)
        red, green, blue = _levels(images, _JOINT_LEVELS).unbind(1)
        joint = ((red * _JOINT_LEVELS + green) * _JOINT_LEVELS + blue).flatten(1)
        thumbnail = F.interpolate(images, (_THUMBNAIL, _THUMBNAIL), mode="bilinear", antialias=True)
        return torch.cat(
            [
                _shares(channels, _LEVELS).sqrt().unflatten(0, (-1, 3)).flatten(1),
                _shares(joint, _JOINT_LEVELS**3).sqrt(),
                thumbnail.flatten(1) / _THUMBNAIL,
            ],
            dim=1,
        )


def _levels(images: Tensor, levels: int) -> Tensor:
    return (images * levels).long().clamp(0, levels - 1)


def _shares(indices: Tensor, bins: int) -> Tensor:
    """Fraction of each index in each row of (rows, n): (rows, bins)."""
    counts = torch.zeros(len(indices), bins, device=indices.device)
    ones = torch.ones((), device=indices.device).expand(indices.shape)
    return counts.scatter_add_(1, indices, ones) / indices.shape[1]
