"""Backbone and initial weights."""

from dataclasses import dataclass
from typing import Annotated

from tyro.conf import arg

from gravis_triton.settings.ranges import Range


@dataclass(frozen=True, kw_only=True)
class EncoderSettings:
    """The encoder to fine-tune or evaluate."""

    encoder: str = "random"
    """random, imagenet, RUN/encoder, hf:OWNER/NAME, timm weights (.safetensors, .pth) or color-histogram (evaluate)."""
    model: Annotated[
        str | None, arg(metavar="STR", help_behavior_hint="(default: the encoder directory's, else resnet18)")
    ] = None
    """timm backbone for a random or imagenet encoder or a weights file: resnet50, convnext_tiny, ..."""
    image_size: Annotated[
        int | None,
        Range(min=1, max=4096),
        arg(
            metavar="INT", help_behavior_hint="(default: the encoder's, else 224, or 64 for synthetic images)"
        ),
    ] = None
    """Size of the square input images in pixels."""


@dataclass(frozen=True, kw_only=True)
class ModelSettings(EncoderSettings):
    """The backbone to pre-train and its projection head."""

    encoder: str = "random"
    """Initial weights: random, imagenet, RUN/encoder, hf:OWNER/NAME, or timm weights (.safetensors or .pth)."""
    pretrained: bool = False
    """Same as --encoder imagenet."""
    projection_hidden: Annotated[
        int | None, Range(min=1), arg(metavar="INT", help_behavior_hint="(default: the feature dimension)")
    ] = None
    """Width of the hidden layer of the projection head."""
    projection_dim: Annotated[int, Range(min=1, max=65_536)] = 128
    """Dimension of the embeddings."""
    grad_cache_chunk: Annotated[
        int | None, Range(min=2), arg(metavar="INT", help_behavior_hint="(default: all at once)")
    ] = None
    """Encode this many views at a time, to fit larger batches in memory; gradients stay the same."""
