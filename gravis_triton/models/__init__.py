"""Encoders, and the networks on top of them."""

from gravis_triton.models.classifier import Classifier
from gravis_triton.models.encoder import (
    Pretrainer,
    build_encoder,
    from_published_weights,
    model_args,
    normalization,
)
from gravis_triton.models.evaluating import evaluating
from gravis_triton.models.finetuned import FinetunedNetwork
from gravis_triton.models.layers import parameter_groups
from gravis_triton.models.open import OpenedEncoder, open_encoder
from gravis_triton.models.segmenter import Segmenter, build_segmenter
from gravis_triton.models.timm_directory import save_classifier, save_encoder

__all__ = [
    "Classifier",
    "FinetunedNetwork",
    "OpenedEncoder",
    "Pretrainer",
    "Segmenter",
    "build_encoder",
    "build_segmenter",
    "evaluating",
    "from_published_weights",
    "model_args",
    "normalization",
    "open_encoder",
    "parameter_groups",
    "save_classifier",
    "save_encoder",
]
