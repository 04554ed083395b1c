"""Settings as typed dataclasses: the one source of flags, their help, config files and the saved config.

A recipe's settings inherit the groups it needs.
"""

from dataclasses import dataclass
from typing import Literal

from gravis_kernels.settings import Attention, Negatives, Penalty

from gravis_triton.augment import ViewRecipe


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    data: str = "synthetic"
    """Source images: "synthetic", a directory (ISIC 2016-2020, HAM10000 or any folder of images), or hf:OWNER/NAME."""
    synthetic_sources: int = 1500
    """How many images the synthetic collection has."""
    held_out: float = 0.2
    """Share of the labelled images kept for evaluation where the data set has no validation split."""
    split_seed: int | None = None
    """Split training and validation images anew, by this number; None: the official split, else one by --seed."""
    cache_dir: str | None = None
    """Where decoded images are kept for the next run; None: $GRAVIS_CACHE or ~/.cache/gravis-triton."""
    cache_size: int = 0
    """Short side of the decoded images, in pixels; 0: 1.5 times the image size."""
    num_workers: int = -1
    """Worker processes that decode and load images; -1: one per core, at most 8."""


@dataclass(frozen=True, kw_only=True)
class StreamingSettings:
    streaming: bool = False
    """Read images from Parquet or WebDataset tar shards where they lie (hf:OWNER/NAME or a directory), uncached."""
    shuffle_buffer: int = 1000
    """Consecutive streamed images that each worker shuffles; they are kept encoded in memory."""
    steps_per_epoch: int = 0
    """Steps of an epoch of streamed images; 0: as many as the shards give, less 2 % spares for unreadable images."""


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    model: str = "resnet18"
    """Any timm backbone: resnet50, convnext_tiny, efficientnet_b0, vit_tiny_patch16_224, ..."""
    image_size: int = 0
    """Side of the square views, in pixels; 0: 64 for the synthetic images, 224 for others."""
    pretrained: bool = False
    """Start from timm's ImageNet weights instead of random ones."""
    projection_hidden: int = 0
    """Width of the projection head's hidden layer; 0: as many as the encoder has features."""
    projection_dim: int = 128
    """Dimensions of the embeddings that are contrasted."""
    grad_cache_chunk: int = 0
    """Encode this many views at a time: a batch may then exceed the memory, at the same gradient; 0: all at once."""


LossName = Literal["gravis", "gravis-rank", "nt-xent", "triplet"]


@dataclass(frozen=True, kw_only=True)
class LossSettings:
    loss: LossName = "gravis"
    """What is minimised; the flags below change one of its settings, None leaves it as it is."""
    margin: float | None = None
    """By how much a positive should be more similar than a negative."""
    attention: Attention | None = None
    """How the positives of an anchor are weighed."""
    attention_temperature: float | None = None
    """Temperature of the softmax attention; the smaller, the more it looks at similar views."""
    negatives: Negatives | None = None
    """Mean penalty over the negatives, or their log-sum-exp: the soft hardest negative."""
    penalty: Penalty | None = None
    """What a violated margin costs."""
    temperature: float | None = None
    """Temperature of the penalty and of the log-sum-exp."""


@dataclass(frozen=True, kw_only=True)
class AugmentSettings(ViewRecipe):
    augment: str = "published"
    """How views are made: published, dermoscopy or a YAML file of `name: value` lines; flags change single values."""


@dataclass(frozen=True, kw_only=True)
class OptimizationSettings:
    epochs: int = 0
    """Passes over the source images; 0: 8 for the synthetic images, 100 for others."""
    batch_size: int = 48
    """Source images per step and process; each gives `views` views."""
    opt: str = "adamw"
    """Any timm optimiser: adamw, sgd (with Nesterov momentum), momentum (without), lars, lamb, ..."""
    lr: float = 1e-3
    """Highest learning rate."""
    momentum: float = 0.9
    """Momentum of the optimisers that have one."""
    weight_decay: float = 0.05
    """Weight decay; biases and normalisation layers have none."""
    sched: Literal["cosine", "tanh", "poly", "step"] = "cosine"
    """Shape of the learning rate over the epochs, after the warm-up."""
    warmup_epochs: float = 1.0
    """Epochs over which the learning rate rises to its highest."""
    max_steps: int = 0
    """Stop after this many steps, the schedule staying that of all epochs; 0: after all epochs."""


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    config: str | None = None
    """YAML file with settings; flags override it."""
    output_dir: str | None = None
    """Where everything of the run goes; None: a new directory in runs/, named by date and time."""
    overwrite: bool = False
    """Empty the output directory first, if it holds an earlier run."""
    seed: int = 0
    """Everything random follows from it."""
    mixed_precision: Literal["no", "bf16", "fp16"] | None = None
    """Arithmetic of the encoder; None: as `accelerate launch` was told."""
    tracker: str | None = None
    """Also log to one of accelerate's trackers: tensorboard, wandb, mlflow, ..."""


@dataclass(frozen=True, kw_only=True)
class TrainingSettings(RunSettings, OptimizationSettings):
    resume: str | None = None
    """Go on from a checkpoint: a run directory, one of its checkpoints, or "auto" for the newest of --output-dir."""
    channels_last: bool = True
    """Keep images channels-last in memory: faster convolutions."""
    compile: bool = False
    """Compile the model with torch.compile."""
    log_every: int = 10
    """Steps between two lines of metrics."""
    eval_every: int = 0
    """Epochs between two evaluations of the encoder, where labels exist; 0: before and after training only."""


@dataclass(frozen=True, kw_only=True)
class PretrainSettings(
    TrainingSettings, LossSettings, ModelSettings, AugmentSettings, StreamingSettings, DataSettings
):
    """Pre-train an image encoder on unlabelled dermatology images by GraVIS."""

    checkpoint_every: int = 1
    """Epochs between two checkpoints; the newest two are kept."""
