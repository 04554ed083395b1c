"""Scores of predicted lesion masks, as the ISIC challenges define them.

Each image is scored at the native size of its mask, and scores are averaged over images
(github.com/ImageMarkup/isic-challenge-scoring). Pooling the pixels of all images gives different numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

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


def segmentation_scores(scores: Sequence[MaskScores]) -> dict[str, float]:
    """The mean of each score over images, by name; ISIC 2017 ranks by jaccard.

    thresholded_jaccard, by which ISIC 2018 ranks, counts an index below 0.65 as 0. Raises ValueError without images.
    """
    if not scores:
        raise ValueError("no masks to score")
    columns = {name: [getattr(of_image, name) for of_image in scores] for name in MaskScores.__dataclass_fields__}
    columns["thresholded_jaccard"] = [value if value >= JACCARD_THRESHOLD else 0.0 for value in columns["jaccard"]]
    return {name: sum(values) / len(values) for name, values in columns.items()}


def resize_probability(probability: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize a lesion probability (h, w) in [0, 1] to a bool mask of `size` (height, width).

    Bilinear, antialiased when shrinking, then thresholded at 0.5: smoother than resizing the mask.
    """
    resized = F.interpolate(probability[None, None].float(), size, mode="bilinear", align_corners=False, antialias=True)
    return resized[0, 0] > 0.5
