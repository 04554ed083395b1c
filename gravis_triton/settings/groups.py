"""Groups of settings that jobs share: dataset, model, optimizer, run and training loop."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from gravis_triton.settings.fields import Argument

BatchSize = Annotated[int, Field(ge=1, le=1_000_000)]
Epochs = Annotated[int | None, Field(ge=1, le=1_000_000)]
ImageSize = Annotated[int | None, Field(ge=1, le=4096)]
Workers = Annotated[int | None, Field(ge=0, le=256), Argument(default="one per core, at most 8")]


@dataclass(frozen=True, kw_only=True)
class ReadSettings:
    """How the dataset is read."""

    columns: Annotated[str | None, Argument(default="recognized by name")] = None
    """Columns of the table: image=photo,label=dx,group=patient,mask=segmentation,split=fold; label= reads none,
    labels=A+B several classes per image."""
    images: Annotated[str | None, Argument(default="the folder of the table", metavar="DIR")] = None
    """Directory that holds the images that the table names."""
    modality: Annotated[Literal["dermoscopic", "clinical"] | None, Argument(default="both")] = None
    """Images of one kind only, in a dataset with both (MILK10k, Derm7pt)."""
    classes: Annotated[Literal["common"] | None, Argument(default="the dataset's own")] = None
    """The diagnoses that datasets have in common: melanoma, nevus, BCC, AK, BKL, SCC, DF, VASC."""

    def reading(self) -> dict[str, Any]:
        """The arguments of `open_collection` for these settings."""
        return {name: getattr(self, name) for name in ("columns", "images", "modality", "classes")}


@dataclass(frozen=True, kw_only=True)
class DataSettings(ReadSettings):
    """Dataset, splits and loading."""

    data: str = "synthetic"
    """Images: directory (a known data set, any folder), CSV or Parquet table, hf:OWNER/NAME or synthetic."""
    synthetic_images: Annotated[int, Field(ge=1, le=1_000_000)] = 1500
    """Number of images to draw for --data synthetic."""
    val_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Fraction of the labeled images to validate on, if the dataset has no validation split."""
    split_seed: Annotated[int | None, Field(ge=0), Argument(default="official split, else --seed")] = None
    """Draw a new train/validation split with this seed."""
    cache_dir: Annotated[str | None, Argument(default="$GRAVIS_CACHE, else ~/.cache/gravis-triton")] = None
    """Cache directory for decoded images."""
    cache_size: Annotated[int | None, Field(ge=1, le=8192), Argument(default="1.5 times the image size")] = None
    """Short side of the cached images in pixels."""
    num_workers: Workers = None
    """Worker processes for decoding and loading images; 0 loads in the main process."""

    @property
    def short_side(self) -> int:
        """`cache_size`, once `complete` has filled it in."""
        assert self.cache_size is not None
        return self.cache_size

    @property
    def workers(self) -> int:
        """`num_workers`, once `complete` has filled it in."""
        assert self.num_workers is not None
        return self.num_workers


@dataclass(frozen=True, kw_only=True)
class StreamingSettings:
    """Training on image shards without a cache."""

    streaming: bool = False
    """Stream images from Parquet or WebDataset shards (hf:OWNER/NAME or a directory) instead of caching them."""
    shuffle_buffer: Annotated[int, Field(ge=1)] = 1000
    """Shuffle buffer size per process in images, kept encoded in memory."""
    steps_per_epoch: Annotated[int | None, Field(ge=1), Argument(default="all images minus 2% spares")] = None
    """Optimizer steps per epoch of streamed images."""


@dataclass(frozen=True, kw_only=True)
class EncoderSettings:
    """The encoder to fine-tune or evaluate."""

    encoder: str = "random"
    """random, imagenet, RUN/encoder, hf:OWNER/NAME, timm weights (.safetensors, .pth) or color-histogram (evaluate)."""
    model: Annotated[
        str | None, Argument(default="the encoder's, else resnet18, or resnet10t for synthetic images")
    ] = None
    """timm backbone for a random or imagenet encoder or a weights file: resnet50, convnext_tiny, ..."""
    image_size: Annotated[ImageSize, Argument(default="the encoder's, else 224, or 64 for synthetic images")] = None
    """Size of the square input images in pixels."""


@dataclass(frozen=True, kw_only=True)
class ModelSettings(EncoderSettings):
    """The backbone to pre-train."""

    encoder: str = "random"
    """Initial weights: random, imagenet, RUN/encoder, hf:OWNER/NAME, or timm weights (.safetensors or .pth)."""
    pretrained: bool = False
    """Same as --encoder imagenet."""


@dataclass(frozen=True, kw_only=True)
class OptimizationSettings:
    """Optimizer and learning rate schedule."""

    epochs: Annotated[Epochs, Argument(default="4 for synthetic images, else 100")] = None
    """Passes over the training images."""
    batch_size: BatchSize = 24
    """Images per step and process; each gives --views views."""
    opt: str = "adamw"
    """Any timm optimizer: adamw, sgd (with Nesterov momentum), momentum (without), lars, lamb, ..."""
    lr: Annotated[float, Field(gt=0)] = 1e-3
    """Peak learning rate."""
    momentum: Annotated[float, Field(ge=0)] = 0.9
    """Momentum, for optimizers that have one."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    """Weight decay of all parameters except biases and normalization layers."""
    clip_grad: Annotated[float | None, Field(gt=0), Argument(default="no clipping")] = None
    """Maximum norm of the gradient; vision transformers need it."""
    sched: Literal["cosine", "tanh", "poly", "step"] = "cosine"
    """Learning rate schedule after the warm-up."""
    warmup_epochs: Annotated[float | None, Field(ge=0), Argument(default="1, at most an eighth of the run")] = None
    """Epochs of linear learning rate warm-up."""
    max_steps: Annotated[int | None, Field(ge=1), Argument(default="no limit")] = None
    """Stop after this many optimizer steps; the schedule still spans all epochs."""


@dataclass(frozen=True, kw_only=True)
class PretrainOptimizationSettings(OptimizationSettings):
    """Optimizer and learning rate schedule of pre-training."""

    total_views: Annotated[int | None, Field(ge=1), Argument(default="set by --epochs")] = None
    """Total number of views to encode, instead of --epochs, for an equal cost at any batch size and --views."""


@dataclass(frozen=True, kw_only=True)
class FinetuneOptimizationSettings(OptimizationSettings):
    """Optimizer and learning rate schedule of fine-tuning."""

    epochs: Annotated[Epochs, Argument(default="6 for synthetic images, else 50")] = None
    """Passes over the training images."""
    batch_size: BatchSize = 32
    """Images per step and process, or all if there are fewer."""
    min_steps: Annotated[int, Field(ge=0)] = 200
    """Minimum number of optimizer steps; epochs are added to reach it."""
    lr: Annotated[float, Field(gt=0)] = 5e-4
    """Peak learning rate of the head and of the encoder's last layer."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Layer-wise learning rate decay: factor from each encoder layer to the one before it."""
    freeze_encoder: bool = False
    """Train the head only."""
    bn_statistics: Literal["auto", "frozen", "batch"] = "auto"
    """Statistics of the encoder's BatchNorm: frozen are those of pre-training, batch those of each batch; auto takes
    frozen if the encoder started from published weights, such as ImageNet's."""
    ema: Annotated[float | None, Field(gt=0, lt=1), Argument(default="no averaging")] = None
    """Decay of an exponential moving average of the weights, which is evaluated and saved instead."""


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """Output directory, seed and precision."""

    output_dir: Annotated[str | None, Argument(default="runs/DATE-TIME-NAME")] = None
    """Output directory."""
    overwrite: bool = False
    """Delete an existing run in the output directory first."""
    config: Annotated[str | None, Argument(default="none")] = None
    """YAML file with settings, or the name of a shipped config; flags override it."""
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 0
    """Random seed."""
    mixed_precision: Annotated[
        Literal["auto", "no", "bf16", "fp16"],
        BeforeValidator(lambda value: value or "no"),  # YAML 1.1 reads no as false; version 0.2 wrote null
    ] = "auto"
    """Mixed precision of training; auto: what accelerate launch sets, else bf16 if the hardware multiplies it."""
    cpu_threads: Annotated[
        int | None, Field(ge=1, le=4096), Argument(default="OMP_NUM_THREADS, else its share of the cores")
    ] = None
    """Threads per process when training on the CPU."""
    tracker: Annotated[str | None, Argument(default="none")] = None
    """Also log to an accelerate tracker: tensorboard, wandb, mlflow, ..."""


@dataclass(frozen=True, kw_only=True)
class LoopSettings:
    """Settings shared by all training loops."""

    resume: Annotated[str | None, Argument(default="new run")] = None
    """Resume from a run directory, one of its checkpoints, or auto for the newest one in --output-dir."""
    channels_last: bool = True
    """Use channels-last memory format for faster convolutions."""
    compile: bool = False
    """Compile the model with torch.compile."""
    log_every: Annotated[int, Field(ge=1)] = 10
    """Log metrics every N steps."""
    max_bad_steps: Annotated[int, Field(ge=0)] = 0
    """Number of steps with non-finite gradients to skip before the run stops; synchronizes the device every step."""


@dataclass(frozen=True, kw_only=True)
class TrainingSettings(LoopSettings):
    """Resuming, evaluation, logging and speed of the training loop."""

    eval_every: Annotated[int | None, Field(ge=1), Argument(default="only before and after training")] = None
    """Evaluate the encoder with kNN every N epochs, if there are labels."""
    eval_images: Annotated[int, Field(ge=1)] = 2000
    """Number of images per split, stratified by class, in these evaluations; the last one uses all."""
    evaluate: bool = True
    """Evaluate the encoder before, during and after training."""
    checkpoint_every: Annotated[int, Field(ge=1)] = 1
    """Save a checkpoint every N epochs; the newest two are kept."""


@dataclass(frozen=True, kw_only=True)
class FinetuneTrainingSettings(LoopSettings):
    """Resuming, validation, logging and speed of the training loop."""

    eval_every: Annotated[int | None, Field(ge=1), Argument(default="at most ten validations")] = None
    """Validate and save a checkpoint every N epochs."""
    patience: Annotated[int | None, Field(ge=1), Argument(default="no early stopping")] = None
    """Stop after this many validations without improvement."""
