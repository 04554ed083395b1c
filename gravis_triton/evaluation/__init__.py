"""What a frozen encoder is worth, and how predictions are scored."""

from gravis_triton.evaluation.classification import (
    ClassificationScores,
    ClassScores,
    classification_scores,
)
from gravis_triton.evaluation.collection import score_encoder
from gravis_triton.evaluation.features import extract_features
from gravis_triton.evaluation.files import (
    save_mask,
    write_diagnoses_csv,
    write_mask_scores_csv,
    write_submission_csv,
)
from gravis_triton.evaluation.flips import predict_with_flips
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
    "predict_with_flips",
    "resize_probability",
    "save_mask",
    "score_encoder",
    "segmentation_scores",
    "write_diagnoses_csv",
    "write_mask_scores_csv",
    "write_submission_csv",
]
