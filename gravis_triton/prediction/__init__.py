"""Predictions of fine-tuned networks for whole images."""

from gravis_triton.prediction.class_predictor import ClassPredictor
from gravis_triton.prediction.embedding import Embedder
from gravis_triton.prediction.inputs import InputSettings
from gravis_triton.prediction.mask_predictor import MaskPredictor, compare_masks
from gravis_triton.prediction.prediction_rows import ClassRows, MaskRows, rows_fingerprint
from gravis_triton.prediction.saved_model import Predictor, load, save_predictor
from gravis_triton.prediction.table_file import TableFile, compute_rows

__all__ = [
    "ClassPredictor",
    "ClassRows",
    "Embedder",
    "InputSettings",
    "MaskPredictor",
    "MaskRows",
    "Predictor",
    "TableFile",
    "compare_masks",
    "compute_rows",
    "load",
    "rows_fingerprint",
    "save_predictor",
]
