"""What a frozen encoder is worth, and how predictions are scored."""

from gravis_triton.evaluation.classification import (
    ClassificationScores,
    ClassScores,
    classification_scores,
)
from gravis_triton.evaluation.collection import score_encoder
from gravis_triton.evaluation.features import extract_features
from gravis_triton.evaluation.knn import KnnScores, knn_probabilities, knn_scores
from gravis_triton.evaluation.segmentation import (
    MaskScores,
    SegmentationScores,
    lesion_pixels,
    mask_scores,
    resize_probability,
    segmentation_scores,
)

__all__ = [
    "ClassScores",
    "ClassificationScores",
    "KnnScores",
    "MaskScores",
    "SegmentationScores",
    "classification_scores",
    "extract_features",
    "knn_probabilities",
    "knn_scores",
    "lesion_pixels",
    "mask_scores",
    "resize_probability",
    "score_encoder",
    "segmentation_scores",
]
