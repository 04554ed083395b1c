"""Which backbone, and which weights it starts from."""

from dataclasses import dataclass
from typing import Annotated

from tyro.conf import arg

from gravis_triton.settings.ranges import Range


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """The backbone to pre-train and its projection head."""

    model: str = "resnet18"
    """Any timm backbone: resnet50, convnext_tiny, efficientnet_b0, vit_tiny_patch16_224, ..."""
    image_size: Annotated[
        int | None,
        Range(min=1),
        arg(metavar="INT", help_behavior_hint="(default: 64 for synthetic images, else 224)"),
    ] = None
    """Side of the square views in pixels."""
    pretrained: bool = False
    """Start from timm's ImageNet weights instead of random ones."""
    projection_hidden: Annotated[
        int | None, Range(min=1), arg(metavar="INT", help_behavior_hint="(default: as wide as the features)")
    ] = None
    """Width of the hidden layer of the projection head."""
    projection_dim: Annotated[int, Range(min=1)] = 128
    """Dimension of the embeddings."""
    grad_cache_chunk: Annotated[
        int | None, Range(min=1), arg(metavar="INT", help_behavior_hint="(default: all at once)")
    ] = None
    """Encode this many views at a time, so that a batch can exceed the memory; the gradient stays the same."""


@dataclass(frozen=True, kw_only=True)
class EncoderSettings:
    """The encoder to fine-tune or evaluate."""

    encoder: str = "random"
    """Encoder directory (RUN/encoder), random, imagenet or hf:OWNER/NAME; for evaluation also color-histogram."""
    model: Annotated[str | None, arg(metavar="STR", help_behavior_hint="(default: resnet18)")] = None
    """timm backbone of a random or imagenet encoder."""
    image_size: Annotated[
        int | None,
        Range(min=1),
        arg(
            metavar="INT", help_behavior_hint="(default: the encoder's, else 64 for synthetic images and 224)"
        ),
    ] = None
    """Side of the square images in pixels."""
