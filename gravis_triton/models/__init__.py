"""timm backbones and what is put on top of them."""

from gravis_triton.models.encoder import Pretrainer, build_encoder, load_encoder, normalization, save_encoder

__all__ = ["Pretrainer", "build_encoder", "load_encoder", "normalization", "save_encoder"]
