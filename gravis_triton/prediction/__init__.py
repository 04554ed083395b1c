"""From images to diagnoses and lesion masks."""

from gravis_triton.prediction.diagnosis import DiseasePredictor
from gravis_triton.prediction.inputs import InputSettings
from gravis_triton.prediction.outline import MaskPredictor
from gravis_triton.prediction.saved import load, save_predictor

__all__ = ["DiseasePredictor", "InputSettings", "MaskPredictor", "load", "save_predictor"]
