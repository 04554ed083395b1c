"""Settings of each job, composed of groups."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from gravis_triton.settings.augmentation import LabeledViewSettings, ViewSettings
from gravis_triton.settings.data import DataSettings, StreamingSettings
from gravis_triton.settings.loss import LossSettings
from gravis_triton.settings.model import EncoderSettings, ModelSettings
from gravis_triton.settings.optimization import FinetuneOptimizationSettings, PretrainOptimizationSettings
from gravis_triton.settings.ranges import Range
from gravis_triton.settings.run import FinetuneTrainingSettings, RunSettings, TrainingSettings


@dataclass(frozen=True, kw_only=True)
class PretrainSettings:
    """Pre-train an image encoder on unlabeled dermatology images with GraVIS.

    Example: --data DIR --model resnet50 --image-size 224 --epochs 100 --output-dir RUN
    """

    data: DataSettings = field(default_factory=DataSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    optimization: PretrainOptimizationSettings = field(default_factory=PretrainOptimizationSettings)
    run: RunSettings = field(default_factory=RunSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    loss: LossSettings = field(default_factory=LossSettings)
    augmentation: ViewSettings = field(default_factory=ViewSettings)
    streaming: StreamingSettings = field(default_factory=StreamingSettings)


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """Label fraction and test-time augmentation."""

    label_fraction: Annotated[float, Range(above=0, max=1)] = 1.0
    """Fraction of the training labels to use, stratified by class; smaller fractions are subsets of larger ones."""
    tta: bool = False
    """Test-time augmentation: average over the four flips of an image."""


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings:
    """Evaluate a frozen encoder with k nearest neighbors and a linear probe.

    Example: --data DIR --encoder RUN/encoder
    """

    data: DataSettings = field(default_factory=DataSettings)
    encoder: EncoderSettings = field(default_factory=EncoderSettings)
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)
    run: RunSettings = field(default_factory=RunSettings)


@dataclass(frozen=True, kw_only=True)
class FinetuneSettings:
    """Settings shared by all fine-tuning tasks."""

    data: DataSettings = field(default_factory=DataSettings)
    encoder: EncoderSettings = field(default_factory=EncoderSettings)
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)
    optimization: FinetuneOptimizationSettings = field(default_factory=FinetuneOptimizationSettings)
    run: RunSettings = field(default_factory=RunSettings)
    training: FinetuneTrainingSettings = field(default_factory=FinetuneTrainingSettings)
    augmentation: LabeledViewSettings = field(default_factory=LabeledViewSettings)


@dataclass(frozen=True, kw_only=True)
class ClassifierSettings:
    """The classifier on top of the encoder, and its loss."""

    class_loss: Literal["balanced", "focal", "plain"] = "balanced"
    """Class-balanced cross-entropy, class-balanced focal loss, or plain cross-entropy."""
    dropout: Annotated[float, Range(min=0, max=1)] = 0.0
    """Dropout before the classifier."""


@dataclass(frozen=True, kw_only=True)
class ClassificationSettings(FinetuneSettings):
    """Fine-tune an encoder for disease classification.

    Example: --data DIR --encoder RUN/encoder --label-fraction 0.05 --epochs 50 --output-dir RUN
    """

    head: ClassifierSettings = field(default_factory=ClassifierSettings)


Decoder = Literal["unet", "unetplusplus", "deeplabv3plus", "fpn"]


@dataclass(frozen=True, kw_only=True)
class DecoderSettings:
    """The segmentation decoder on top of the encoder."""

    decoder: Decoder = "unet"
    """Decoder from segmentation-models-pytorch."""


@dataclass(frozen=True, kw_only=True)
class SegmentationSettings(FinetuneSettings):
    """Fine-tune an encoder for lesion segmentation.

    Example: --data DIR --encoder RUN/encoder --decoder unet --epochs 50 --output-dir RUN
    """

    head: DecoderSettings = field(default_factory=DecoderSettings)


@dataclass(frozen=True, kw_only=True)
class CompareSettings:
    """Compare encoders over tasks, label fractions and seeds; run again to resume an interrupted comparison."""

    grid: Annotated[str, Positional, arg(metavar="GRID")] = "compare-synthetic"
    """YAML file with the grid, or the name of a shipped one (see docs/comparison.md)."""
    data: Annotated[str | None, arg(metavar="STR", help_behavior_hint="(default: the grid's)")] = None
    """Images: a directory, hf:OWNER/NAME, or synthetic."""
    output_dir: Annotated[str | None, arg(metavar="STR", help_behavior_hint="(default: the grid's)")] = None
    """Directory for all runs and the comparison."""
