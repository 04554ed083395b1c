"""Optimizer and learning rate schedule."""

from dataclasses import dataclass
from typing import Annotated, Literal

from tyro.conf import arg

from gravis_triton.settings.ranges import Range


@dataclass(frozen=True, kw_only=True)
class OptimizationSettings:
    """Optimizer and learning rate schedule."""

    epochs: Annotated[
        int | None,
        Range(min=1, max=1_000_000),
        arg(metavar="INT", help_behavior_hint="(default: 8 for synthetic images, else 100)"),
    ] = None
    """Passes over the training images."""
    batch_size: Annotated[int, Range(min=1, max=1_000_000)] = 48
    """Images per step and process; each gives --views views."""
    opt: str = "adamw"
    """Any timm optimizer: adamw, sgd (with Nesterov momentum), momentum (without), lars, lamb, ..."""
    lr: Annotated[float, Range(above=0)] = 1e-3
    """Peak learning rate."""
    momentum: Annotated[float, Range(min=0)] = 0.9
    """Momentum, for optimizers that have one."""
    weight_decay: Annotated[float, Range(min=0)] = 0.05
    """Weight decay of all parameters except biases and normalization layers."""
    clip_grad: Annotated[
        float | None, Range(above=0), arg(metavar="FLOAT", help_behavior_hint="(default: no clipping)")
    ] = None
    """Maximum norm of the gradient; vision transformers need it."""
    sched: Literal["cosine", "tanh", "poly", "step"] = "cosine"
    """Learning rate schedule after the warm-up."""
    warmup_epochs: Annotated[
        float | None,
        Range(min=0),
        arg(metavar="FLOAT", help_behavior_hint="(default: 1, at most an eighth of the run)"),
    ] = None
    """Epochs of linear learning rate warm-up."""
    max_steps: Annotated[
        int | None, Range(min=1), arg(metavar="INT|None", help_behavior_hint="(default: None, no limit)")
    ] = None
    """Stop after this many optimizer steps; the schedule still spans all epochs."""


@dataclass(frozen=True, kw_only=True)
class PretrainOptimizationSettings(OptimizationSettings):
    """Optimizer and learning rate schedule of pre-training."""

    total_views: Annotated[
        int | None,
        Range(min=1),
        arg(metavar="INT", help_behavior_hint="(default: set by --epochs)"),
    ] = None
    """Total number of views to encode, instead of --epochs, for an equal cost at any batch size and --views."""


@dataclass(frozen=True, kw_only=True)
class FinetuneOptimizationSettings(OptimizationSettings):
    """Optimizer and learning rate schedule of fine-tuning."""

    epochs: Annotated[
        int | None,
        Range(min=1, max=1_000_000),
        arg(metavar="INT", help_behavior_hint="(default: 6 for synthetic images, else 50)"),
    ] = None
    """Passes over the training images."""
    batch_size: Annotated[int, Range(min=1, max=1_000_000)] = 32
    """Images per step and process, or all if there are fewer."""
    min_steps: Annotated[int, Range(min=0)] = 200
    """Minimum number of optimizer steps; epochs are added to reach it."""
    lr: Annotated[float, Range(above=0)] = 5e-4
    """Peak learning rate of the head and of the encoder's last layer."""
    layer_decay: Annotated[float, Range(above=0, max=1)] = 1.0
    """Layer-wise learning rate decay: factor from each encoder layer to the one before it."""
    freeze_encoder: bool = False
    """Train the head only."""
    bn_statistics: Literal["auto", "frozen", "batch"] = "auto"
    """Statistics of the encoder's BatchNorm: frozen are those of pre-training, batch those of each batch; auto takes
    frozen if the encoder started from published weights, such as ImageNet's."""
    ema: Annotated[
        float | None,
        Range(above=0, below=1),
        arg(metavar="FLOAT", help_behavior_hint="(default: no averaging)"),
    ] = None
    """Decay of an exponential moving average of the weights, which is evaluated and saved instead."""
