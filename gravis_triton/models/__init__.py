"""Encoders, and what is put on top of them."""

from gravis_triton.models.encoder import Pretrainer, build_encoder, normalization, save_encoder
from gravis_triton.models.sources import OpenedEncoder, open_encoder

__all__ = ["OpenedEncoder", "Pretrainer", "build_encoder", "normalization", "open_encoder", "save_encoder"]
