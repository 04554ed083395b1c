"""What a frozen encoder is worth."""

from gravis_triton.evaluation.collection import score_encoder
from gravis_triton.evaluation.features import extract_features
from gravis_triton.evaluation.knn import KnnScores, knn_probabilities, knn_scores

__all__ = ["KnnScores", "extract_features", "knn_probabilities", "knn_scores", "score_encoder"]
