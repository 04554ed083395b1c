"""Frozen features of an encoder."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gravis_triton.data.loading.loader import Images, central_square_loader
from gravis_triton.errors import UserError
from gravis_triton.models import evaluating, normalization


@dataclass(frozen=True, slots=True)
class LabeledFeatures:
    """features (images, dim) float32 and labels (images,) int64, on the CPU."""

    features: Tensor
    labels: Tensor


def labeled_features(features: Tensor, labels: Sequence[int]) -> LabeledFeatures:
    """Features with the labels of their images. Raises UserError for features that are not finite."""
    return LabeledFeatures(finite_features(features), torch.tensor(labels))


def finite_features(features: Tensor) -> Tensor:
    """Return the features unchanged. Raises UserError for NaN or infinity, e.g. from a diverged encoder."""
    if not features.isfinite().all():
        raise UserError(
            "the encoder's features are not finite: its pre-training diverged, or its file is damaged"
        )
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
    mean, std = (torch.tensor(values, device=device).view(3, 1, 1) for values in normalization(encoder))
    features: list[Tensor] = []
    done = 0
    with evaluating(encoder):
        for squares in central_square_loader(images, indices, batch_size=batch_size, workers=workers):
            pixels = squares.to(device).float()
            pixels = F.interpolate(pixels, size=(size, size), mode="bilinear", antialias=True) / 255
            features.append(encoder((pixels - mean) / std).float().cpu())
            done += len(squares)
            if progress is not None:
                progress(done, len(indices))
    return torch.cat(features)
