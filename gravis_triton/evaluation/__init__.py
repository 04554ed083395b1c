"""Evaluation of frozen encoders, and scores of predictions."""

from gravis_triton.evaluation.classification import (
    ClassificationScores,
    classification_scores,
)
from gravis_triton.evaluation.examples import Examples, find_examples, read_examples, write_examples
from gravis_triton.evaluation.features import (
    COLOR_HISTOGRAM,
    ColorHistogram,
    FlipAveraged,
    LabeledFeatures,
    extract_features,
    finite_features,
    labeled_features,
    predict_with_flips,
)
from gravis_triton.evaluation.knn import (
    MAX_SCORED_IMAGES,
    KnnScores,
    choose_neighbors,
    knn_probabilities,
    knn_scores,
    score_encoder,
)
from gravis_triton.evaluation.prediction_files import (
    mask_file,
    save_mask,
    write_class_probabilities_csv,
    write_mask_scores_csv,
    write_submission_csv,
)
from gravis_triton.evaluation.probe import fit_probe
from gravis_triton.evaluation.saliency import Saliency, grad_cam
from gravis_triton.evaluation.segmentation import (
    MaskScores,
    mask_scores,
    resize_probability,
    segmentation_scores,
)

__all__ = [
    "COLOR_HISTOGRAM",
    "MAX_SCORED_IMAGES",
    "ClassificationScores",
    "ColorHistogram",
    "Examples",
    "FlipAveraged",
    "KnnScores",
    "LabeledFeatures",
    "MaskScores",
    "Saliency",
    "choose_neighbors",
    "classification_scores",
    "extract_features",
    "find_examples",
    "finite_features",
    "fit_probe",
    "grad_cam",
    "knn_probabilities",
    "knn_scores",
    "labeled_features",
    "mask_file",
    "mask_scores",
    "predict_with_flips",
    "read_examples",
    "resize_probability",
    "save_mask",
    "score_encoder",
    "segmentation_scores",
    "write_class_probabilities_csv",
    "write_examples",
    "write_mask_scores_csv",
    "write_submission_csv",
]
