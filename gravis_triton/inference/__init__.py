"""Fine-tuned models applied to whole images, and tables of features and predictions."""

from gravis_triton.inference.class_predictor import ClassPredictor
from gravis_triton.inference.image_table import TableFile, join_processes, write_table
from gravis_triton.inference.mask_predictor import MaskPredictor, compare_masks
from gravis_triton.inference.rows import ClassRows, FeatureRows, MaskRows, weights_hash
from gravis_triton.inference.saved_model import Predictor, load, save_predictor

__all__ = [
    "ClassPredictor",
    "ClassRows",
    "FeatureRows",
    "MaskPredictor",
    "MaskRows",
    "Predictor",
    "TableFile",
    "compare_masks",
    "join_processes",
    "load",
    "save_predictor",
    "weights_hash",
    "write_table",
]
