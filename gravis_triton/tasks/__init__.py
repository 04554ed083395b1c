"""Supervised tasks, a file each: network, loss, predictor, validation and test."""

from gravis_triton.tasks.base import AnnotatedData, FinetunedNetwork, Predictor, Task, parameter_groups
from gravis_triton.tasks.classification import ClassificationTask, Classifier, ClassPredictor
from gravis_triton.tasks.segmentation import MaskPredictor, SegmentationTask, Segmenter

PREDICTORS: dict[str, type[Predictor]] = {predictor.task: predictor for predictor in (ClassPredictor, MaskPredictor)}
"""Name of a task -> predictor of its networks."""
