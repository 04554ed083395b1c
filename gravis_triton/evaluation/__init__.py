"""What a frozen encoder is worth, and how predictions are scored."""

from gravis_triton.evaluation.classification import (
    ClassificationScores,
    ClassScores,
    classification_scores,
)
from gravis_triton.evaluation.collection import score_encoder
from gravis_triton.evaluation.color_histogram import COLOR_HISTOGRAM, ColorHistogram
from gravis_triton.evaluation.features import LabelledFeatures, extract_features, labelled_features
from gravis_triton.evaluation.files import (
    save_mask,
    write_diagnoses_csv,
    write_mask_scores_csv,
    write_submission_csv,
)
from gravis_triton.evaluation.flips import FlipAveraged, predict_with_flips
from gravis_triton.evaluation.knn import KnnScores, choose_neighbours, knn_probabilities, knn_scores
from gravis_triton.evaluation.probe import LinearProbe, fit_probe
from gravis_triton.evaluation.segmentation import (
    MaskScores,
    SegmentationScores,
    mask_scores,
    resize_probability,
    segmentation_scores,
)

__all__ = [
    "COLOR_HISTOGRAM",
    "ClassScores",
    "ClassificationScores",
    "ColorHistogram",
    "FlipAveraged",
    "KnnScores",
    "LabelledFeatures",
    "LinearProbe",
    "MaskScores",
    "SegmentationScores",
    "choose_neighbours",
    "classification_scores",
    "extract_features",
    "fit_probe",
    "knn_probabilities",
    "knn_scores",
    "labelled_features",
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
