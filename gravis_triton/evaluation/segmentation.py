"""Scores of predicted lesion masks, as the ISIC challenges define them.

Each image is scored at the native size of its mask, and scores are averaged over images
(github.com/ImageMarkup/isic-challenge-scoring). Pooling the pixels of all images gives different numbers.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

import segmentation_models_pytorch.metrics as smp_metrics
import torch
import torch.nn.functional as F
from torch import Tensor

from gravis_triton.evaluation import JACCARD_THRESHOLD


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskScores:
    """Scores of one predicted mask, each in [0, 1].

    With pixel counts TP, FP, FN, TN:
    jaccard TP / (TP + FP + FN) and dice 2 TP / (2 TP + FP + FN): 1 if both masks are empty;
    accuracy (TP + TN) / all;
    sensitivity TP / (TP + FN): 1 if the true mask is empty; specificity TN / (TN + FP): 1 if it is full.
    """

    jaccard: float
    dice: float
    accuracy: float
    sensitivity: float
    specificity: float

    @property
    def thresholded_jaccard(self) -> float:
        """The Jaccard index, or 0 if it is below 0.65 (ISIC 2018, task 1)."""
        return self.jaccard if self.jaccard >= JACCARD_THRESHOLD else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentationScores:
    """Means over images of `MaskScores`. ISIC 2017 ranks by jaccard, ISIC 2018 by thresholded_jaccard."""

    images: int
    jaccard: float
    thresholded_jaccard: float
    dice: float
    accuracy: float
    sensitivity: float
    specificity: float

    def flat(self) -> dict[str, float]:
        """Every score by name, without the number of images."""
        return {name: value for name, value in asdict(self).items() if name != "images"}


def mask_scores(predicted: Tensor, truth: Tensor) -> MaskScores:
    """Scores of a predicted mask against the true one, both bool (height, width), True for lesion.

    truth: at its native size; lesion is where its file is above 128 (see `gravis_triton.data.native_mask`).

    Raises ValueError for masks of different shapes, without pixels, or not bool.
    """
    if predicted.dtype != torch.bool or truth.dtype != torch.bool:
        raise ValueError(f"masks must be bool, not {predicted.dtype} and {truth.dtype}: threshold them first")
    if predicted.shape != truth.shape or not truth.numel():
        raise ValueError(
            f"masks are {tuple(predicted.shape)} and {tuple(truth.shape)}: expected the same non-empty shape"
        )
    pixels = (predicted.reshape(1, 1, -1), truth.reshape(1, 1, -1))
    counts = [count.double() for count in smp_metrics.get_stats(*pixels, mode="binary")]
    metrics = {
        "jaccard": smp_metrics.iou_score,
        "dice": smp_metrics.f1_score,
        "accuracy": smp_metrics.accuracy,
        "sensitivity": smp_metrics.sensitivity,
        "specificity": smp_metrics.specificity,
    }
    # 0 / 0 is 1, as in the challenges
    return MaskScores(**{name: metric(*counts, zero_division=1.0).item() for name, metric in metrics.items()})


def segmentation_scores(scores: Sequence[MaskScores]) -> SegmentationScores:
    """The mean of each score over images. Raises ValueError if there are none."""
    if not scores:
        raise ValueError("no masks to score")
    names = [field.name for field in fields(SegmentationScores) if field.name != "images"]
    means = {name: sum(getattr(of_image, name) for of_image in scores) / len(scores) for name in names}
    return SegmentationScores(images=len(scores), **means)


def resize_probability(probability: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize a lesion probability (h, w) in [0, 1] to a bool mask of `size` (height, width).

    Bilinear, antialiased when shrinking, then thresholded at 0.5: smoother than resizing the mask.
    """
    resized = F.interpolate(probability[None, None].float(), size, mode="bilinear", align_corners=False, antialias=True)
    return resized[0, 0] > 0.5
