"""Encoders, and what is put on top of them."""

from gravis_triton.models.classifier import Classifier
from gravis_triton.models.encoder import Pretrainer, build_encoder, normalization, save_encoder
from gravis_triton.models.finetuned import FinetunedNetwork
from gravis_triton.models.layers import parameter_groups
from gravis_triton.models.segmenter import Segmenter, build_segmenter
from gravis_triton.models.sources import OpenedEncoder, open_encoder

__all__ = [
    "Classifier",
    "FinetunedNetwork",
    "OpenedEncoder",
    "Pretrainer",
    "Segmenter",
    "build_encoder",
    "build_segmenter",
    "normalization",
    "open_encoder",
    "parameter_groups",
    "save_encoder",
]
