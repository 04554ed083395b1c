"""Predictions of fine-tuned networks for whole images."""

from gravis_triton.prediction.class_predictor import ClassPredictor
from gravis_triton.prediction.inputs import InputSettings
from gravis_triton.prediction.mask_predictor import MaskPredictor, compare_masks
from gravis_triton.prediction.saved_model import Predictor, load, save_predictor

__all__ = [
    "ClassPredictor",
    "InputSettings",
    "MaskPredictor",
    "Predictor",
    "compare_masks",
    "load",
    "save_predictor",
]
