"""Which backbone, and which weights it starts from."""

from dataclasses import dataclass
from typing import Annotated

from tyro.conf import arg

from gravis_triton.settings.ranges import Range


@dataclass(frozen=True, kw_only=True)
class EncoderSettings:
    """The encoder to fine-tune or evaluate."""

    encoder: str = "random"
    """random, imagenet, RUN/encoder, hf:OWNER/NAME, or a .safetensors or .pth file with a timm state dict; for
    evaluation also color-histogram."""
    model: Annotated[
        str | None, arg(metavar="STR", help_behavior_hint="(default: resnet18, or the encoder directory's)")
    ] = None
    """timm backbone of a random or imagenet encoder, or of a file: resnet50, convnext_tiny, ..."""
    image_size: Annotated[
        int | None,
        Range(min=1, max=4096),
        arg(
            metavar="INT", help_behavior_hint="(default: the encoder's, else 64 for synthetic images and 224)"
        ),
    ] = None
    """Side of the square images in pixels."""


@dataclass(frozen=True, kw_only=True)
class ModelSettings(EncoderSettings):
    """The backbone to pre-train and its projection head."""

    encoder: str = "random"
    """Weights to start from: random, imagenet, RUN/encoder, hf:OWNER/NAME, or a .safetensors or .pth file with a timm
    state dict."""
    pretrained: bool = False
    """The same as --encoder imagenet."""
    projection_hidden: Annotated[
        int | None, Range(min=1), arg(metavar="INT", help_behavior_hint="(default: as wide as the features)")
    ] = None
    """Width of the hidden layer of the projection head."""
    projection_dim: Annotated[int, Range(min=1, max=65_536)] = 128
    """Dimension of the embeddings."""
    grad_cache_chunk: Annotated[
        int | None, Range(min=2), arg(metavar="INT", help_behavior_hint="(default: all at once)")
    ] = None
    """Encode this many views at a time, so that a batch can exceed the memory; the gradient stays the same."""
