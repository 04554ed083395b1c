"""Encoders, and the networks on top of them."""

from gravis_triton.models.classifier import Classifier
from gravis_triton.models.encoder import (
    build_encoder,
    eval_mode,
    from_published_weights,
    model_args,
    normalization,
)
from gravis_triton.models.finetuned import FinetunedNetwork
from gravis_triton.models.layers import parameter_groups
from gravis_triton.models.open import OpenedEncoder, open_encoder
from gravis_triton.models.preprocessing import (
    ImageLike,
    Preprocessing,
    check_finite,
    native_size,
    open_image,
    resize_and_normalize,
)
from gravis_triton.models.segmenter import Segmenter, build_segmenter
from gravis_triton.models.timm_directory import save_classifier, save_encoder

__all__ = [
    "Classifier",
    "FinetunedNetwork",
    "ImageLike",
    "OpenedEncoder",
    "Preprocessing",
    "Segmenter",
    "build_encoder",
    "build_segmenter",
    "check_finite",
    "eval_mode",
    "from_published_weights",
    "model_args",
    "native_size",
    "normalization",
    "open_encoder",
    "open_image",
    "parameter_groups",
    "resize_and_normalize",
    "save_classifier",
    "save_encoder",
]
