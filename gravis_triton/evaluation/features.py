"""Features of images by an encoder, averaged over flips, and a baseline without any learning."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gravis_triton.data.loading.loader import Images, central_square_loader
from gravis_triton.errors import UserError
from gravis_triton.models import eval_mode, normalization, resize_and_normalize

COLOR_HISTOGRAM = "color-histogram"
"""The value of `--encoder` for a `ColorHistogram`."""

_FLIPS: tuple[tuple[int, ...], ...] = ((), (-1,), (-2,), (-2, -1))
_LEVELS = 16  # of a color histogram, per channel
_JOINT_LEVELS = 4  # per channel, in the joint histogram
_THUMBNAIL = 8


@dataclass(frozen=True, slots=True)
class LabeledFeatures:
    """features (images, dim) float32 and labels int64, (images,) or 0 and 1 (images, classes), on the CPU."""

    features: Tensor
    labels: Tensor


def finite_features(features: Tensor) -> Tensor:
    """Return the features unchanged. Raises UserError for NaN or infinity, e.g. from a diverged encoder."""
    if not features.isfinite().all():
        raise UserError("the encoder's features are not finite: its pre-training diverged, or its file is damaged")
    return features


def extract_features(
    encoder: nn.Module,
    images: Images,
    indices: Sequence[int],
    *,
    size: int,
    device: torch.device,
    workers: int = 0,
    batch_size: int = 128,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Features (len(indices), dim), float32 on the CPU, of the central squares of images, resized to `size`.

    The encoder runs in evaluation mode; its mode is restored afterwards. progress: called with (done, total) images.
    """
    mean, std = normalization(encoder)
    features: list[Tensor] = []
    done = 0
    with eval_mode(encoder):
        for squares in central_square_loader(images, indices, batch_size=batch_size, workers=workers):
            inputs = resize_and_normalize(squares.to(device), size, mean, std)
            features.append(encoder(inputs).float().cpu())
            done += len(squares)
            if progress is not None:
                progress(done, len(indices))
    return torch.cat(features)


def predict_with_flips(predict: Callable[[Tensor], Tensor], images: Tensor, *, masks: bool) -> Tensor:
    """Mean of the predictions for images (batch, 3, height, width) unflipped, flipped horizontally, vertically, and
    both ways.

    masks: predictions are masks (..., height, width), which are flipped back before averaging; otherwise they are
    vectors (batch, classes). `predict` should return probabilities, not logits, so that the mean is a probability.
    """
    predictions = [predict(images.flip(sides)).flip(sides if masks else ()) for sides in _FLIPS]
    return torch.stack(predictions).mean(0)


class FlipAveraged(nn.Module):
    """An encoder whose features are the mean over the four flips of an image."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.pretrained_cfg = encoder.pretrained_cfg  # holds the normalization

    def forward(self, images: Tensor) -> Tensor:
        return predict_with_flips(self.encoder, images, masks=False)


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
        channels = _levels(images, _LEVELS).flatten(0, 1)  # (batch * 3, height, width)
        red, green, blue = _levels(images, _JOINT_LEVELS).unbind(1)
        joint = (red * _JOINT_LEVELS + green) * _JOINT_LEVELS + blue
        thumbnail = F.interpolate(images, (_THUMBNAIL, _THUMBNAIL), mode="bilinear", antialias=True) / _THUMBNAIL
        histograms = _histograms(channels, _LEVELS).view(-1, 3 * _LEVELS), _histograms(joint, _JOINT_LEVELS**3)
        return torch.cat([*(histogram.sqrt() for histogram in histograms), thumbnail.flatten(1)], dim=1)


def _levels(images: Tensor, levels: int) -> Tensor:
    return (images * levels).long().clamp(0, levels - 1)


def _histograms(images: Tensor, bins: int) -> Tensor:
    """Fraction of the pixels of images (n, height, width) with each value: (n, bins)."""
    values = images.flatten(1)
    counts = torch.zeros(len(values), bins, device=values.device)
    ones = torch.ones((), device=values.device).expand(values.shape)
    return counts.scatter_add_(1, values, ones) / values.shape[1]
