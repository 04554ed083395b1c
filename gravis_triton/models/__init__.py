"""Encoders, and the networks on top of them."""

from gravis_triton.models.encoder import (
    build_encoder,
    eval_mode,
    feature_dim,
    from_published_weights,
    has_depthwise_convolutions,
    model_args,
    normalization,
    weights_hash,
)
from gravis_triton.models.open import OpenedEncoder, find_architecture, open_encoder
from gravis_triton.models.preprocessing import ImageLike, Preprocessing, native_size, open_image, resize_and_normalize
from gravis_triton.models.timm_directory import save_classifier, save_encoder
