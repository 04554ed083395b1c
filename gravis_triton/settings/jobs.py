"""Settings of each job, composed of groups."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from gravis_triton.errors import UserError
from gravis_triton.settings import groups
from gravis_triton.settings.augmentation import LabeledViewSettings, ViewSettings
from gravis_triton.settings.fields import Argument

MethodName = Annotated[str, Argument(alias="--loss", metavar="NAME")]


@dataclass(frozen=True, kw_only=True)
class PretrainSettings(
    groups.DataSettings,
    groups.ModelSettings,
    groups.PretrainOptimizationSettings,
    groups.RunSettings,
    groups.TrainingSettings,
    ViewSettings,
    groups.StreamingSettings,
):
    """Pre-train an image encoder on unlabeled dermatology images, with GraVIS or another self-supervised method.

    Example: --data DIR --model resnet50 --image-size 224 --epochs 100 --output-dir RUN
    """

    job: ClassVar[str] = "pretrain"
    method: MethodName = "gravis"
    """gravis, gravis-rank, nt-xent, triplet, byol, vicreg, dino, or your own as package.module:Class."""

    def check(self) -> None:
        """Raise UserError for settings that contradict each other."""
        if self.pretrained and self.encoder not in ("random", "imagenet"):
            raise UserError(f"--pretrained conflicts with --encoder {self.encoder}: drop one of them")
        if self.total_views is not None and self.epochs is not None:
            raise UserError("--total-views and --epochs both set the training length: drop one of them")
        if self.steps_per_epoch is not None and not self.streaming:
            raise UserError("--steps-per-epoch has no effect without --streaming: drop it")
        for name, value in self.reading().items():
            if value is not None and self.streaming:
                raise UserError(f"--{name} is for tables, but --streaming reads shards: drop one of them")
        if self.eval_every is not None and not self.evaluate:
            raise UserError("--eval-every has no effect with --no-evaluate: drop one of them")


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """Label fraction, test-time augmentation, and subgroups."""

    label_fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Fraction of the training labels to use, stratified by class; smaller fractions are subsets of larger ones."""
    tta: bool = False
    """Test-time augmentation: average over the four flips of an image."""
    by: Annotated[str | None, Argument(default="no subgroups", metavar="COLUMN,...")] = None
    """Also score the test images by subgroup: columns of the data's tables, such as sex,age or skin_tone."""


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings(groups.DataSettings, groups.EncoderSettings, EvaluationSettings, groups.RunSettings):
    """Evaluate a frozen encoder with k nearest neighbors and a linear probe.

    Example: --data DIR --encoder RUN/encoder
    """

    job: ClassVar[str] = "evaluate"
    test_data: Annotated[str | None, Argument(default="the test images of --data")] = None
    """Another dataset, all labeled images of which are the test set (external validation)."""
    test_columns: Annotated[str | None, Argument(default="recognized by name")] = None
    """Like --columns, for the table of --test-data."""

    def check(self) -> None:
        """Raise UserError for settings that contradict each other."""
        if self.test_columns is not None and self.test_data is None:
            raise UserError("--test-columns has no effect without --test-data: drop it")


@dataclass(frozen=True, kw_only=True)
class FinetuneSettings(
    groups.DataSettings,
    groups.EncoderSettings,
    EvaluationSettings,
    groups.FinetuneOptimizationSettings,
    groups.RunSettings,
    groups.FinetuneTrainingSettings,
    LabeledViewSettings,
):
    """Settings shared by all fine-tuning tasks."""

    def check(self) -> None:
        """Raise UserError for settings that contradict each other."""
        if self.freeze_encoder and self.layer_decay != 1:
            raise UserError("--layer-decay has no effect with --freeze-encoder: drop one of them")
        if self.freeze_encoder and self.bn_statistics == "batch":
            raise UserError("--bn-statistics batch has no effect with --freeze-encoder: drop one of them")


@dataclass(frozen=True, kw_only=True)
class ClassifierSettings:
    """The classifier on top of the encoder, and its loss."""

    class_loss: Literal["balanced", "focal", "plain"] = "balanced"
    """Class-balanced cross-entropy, class-balanced focal loss, or plain cross-entropy."""
    oversample: Annotated[float, Field(ge=0, le=0.5)] = 0.1
    """Repeat the images of rare classes until each class is at least this fraction of the training images."""
    dropout: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Dropout before the classifier."""


@dataclass(frozen=True, kw_only=True)
class ClassificationSettings(FinetuneSettings, ClassifierSettings):
    """Fine-tune an encoder for disease classification.

    Example: --data DIR --encoder RUN/encoder --label-fraction 0.05 --epochs 50 --output-dir RUN
    """

    job: ClassVar[str] = "finetune-classification"


@dataclass(frozen=True, kw_only=True)
class DecoderSettings:
    """The segmentation decoder on top of the encoder."""

    decoder: Literal["unet", "unetplusplus", "deeplabv3plus", "fpn"] = "unet"
    """Decoder from segmentation-models-pytorch."""


@dataclass(frozen=True, kw_only=True)
class SegmentationSettings(FinetuneSettings, DecoderSettings):
    """Fine-tune an encoder for lesion segmentation.

    Example: --data DIR --encoder RUN/encoder --decoder unet --epochs 50 --output-dir RUN
    """

    job: ClassVar[str] = "finetune-segmentation"


@dataclass(frozen=True, kw_only=True)
class CompareSettings:
    """Compare encoders over tasks, label fractions and seeds; run again to resume an interrupted comparison."""

    grid: Annotated[str, Argument(positional="GRID")] = "compare-synthetic"
    """YAML file with the grid, or the name of a shipped one (see docs/comparison.md)."""
    data: Annotated[str | None, Argument(default="the grid's")] = None
    """Images: a directory, hf:OWNER/NAME, or synthetic."""
    output_dir: Annotated[str | None, Argument(default="the grid's")] = None
    """Directory for all runs and the comparison."""


@dataclass(frozen=True, kw_only=True)
class EmbedSettings(groups.ReadSettings):
    """Extract image features: one row per image with id, path, label, split, group and features.

    Example: RUN/encoder DIR -o features.parquet. Run again to resume an interrupted job.
    """

    encoder: Annotated[str, Argument(positional="ENCODER")]
    """Encoder directory (RUN/encoder), hf:OWNER/NAME, imagenet or random."""
    data: Annotated[str, Argument(positional="DATA")]
    """Images: a directory (ISIC, HAM10000 or any folder of images), hf:OWNER/NAME, or synthetic."""
    output: Annotated[str, Argument(alias="-o")] = "features.parquet"
    """Parquet file to write."""
    overwrite: bool = False
    """Replace an existing file."""
    model: Annotated[str | None, Argument(default="resnet18, or resnet10t for synthetic images")] = None
    """timm backbone for an imagenet or random encoder."""
    image_size: Annotated[groups.ImageSize, Argument(default="the encoder's, else 224")] = None
    """Size of the square input images in pixels."""
    dtype: Literal["float32", "float16"] = "float32"
    """Data type of the features in the file."""
    batch_size: groups.BatchSize = 64
    """Images per batch and process."""
    num_workers: groups.Workers = None
    """Worker processes that decode images; 0 decodes in the main process."""


@dataclass(frozen=True, kw_only=True)
class PredictSettings:
    """Predict diseases or lesion masks of images with a fine-tuned model.

    Example: RUN IMAGES... -o predictions. Run again to resume an interrupted job.
    """

    model: Annotated[str, Argument(positional="RUN")]
    """Directory of a fine-tuning run."""
    images: Annotated[tuple[str, ...], Argument(positional="IMAGES...")]
    """Image files or directories."""
    output_dir: Annotated[str, Argument(alias="-o")] = "predictions"
    """Directory for predictions.csv, and for masks (IMAGE_segmentation.png) or submission.csv."""
    format: Literal["csv", "parquet"] = "csv"
    """File format of the predictions."""
    overwrite: bool = False
    """Overwrite earlier predictions in a non-empty directory."""
    batch_size: groups.BatchSize = 64
    """Images per batch and process."""
    num_workers: groups.Workers = None
    """Worker processes that decode images; 0 decodes in the main process."""


@dataclass(frozen=True, kw_only=True)
class ExportSettings:
    """Export the fine-tuned model or the encoder of a run for timm, ONNX or torch.export, and verify the result.

    transformers loads the timm format, too. Both load RUN/encoder without an export.
    """

    run: Annotated[str, Argument(positional="RUN")]
    """Directory of a pre-training or fine-tuning run."""
    format: Literal["timm", "onnx", "torch-export"] = "onnx"
    """Format of the exported model."""
    output: Annotated[str | None, Argument(default="RUN/export-FORMAT", alias="-o")] = None
    """Output directory."""
    overwrite: bool = False
    """Replace an existing directory."""


@dataclass(frozen=True, kw_only=True)
class CheckSettings(groups.ReadSettings):
    """Check a dataset: counts, unreadable images and masks, duplicates and leakage; exits with 1 on a fault."""

    data: Annotated[str, Argument(positional="DATA")]
    """Images: a directory, a CSV or Parquet table, hf:OWNER/NAME, or synthetic."""
    num_workers: Annotated[int | None, Field(ge=1, le=256), Argument(default="depends on the number of cores")] = None
    """Threads for decoding."""
    json: bool = False
    """Print JSON."""
    page: Annotated[str | None, Argument(default="none", metavar="FILE")] = None
    """HTML file to write contact sheets to."""


@dataclass(frozen=True, kw_only=True)
class ShardsSettings(groups.ReadSettings):
    """Resize a dataset and write it as Parquet shards for --streaming."""

    data: Annotated[str, Argument(positional="DATA")]
    """Images: a directory, a CSV or Parquet table, hf:OWNER/NAME, or synthetic."""
    output: Annotated[str, Argument(positional="OUT")]
    """Output directory; must not exist."""
    image_size: Annotated[int, Field(ge=1, le=8192)] = 512
    """Short side of the images in pixels; smaller images are not resized."""
    images_per_shard: Annotated[int, Field(ge=1)] = 1000
    """Number of images per shard."""


@dataclass(frozen=True, kw_only=True)
class CacheSettings:
    """List the cache of decoded images, or delete what has not been used for some days."""

    cache_dir: Annotated[str | None, Argument(default="$GRAVIS_CACHE, else ~/.cache/gravis-triton")] = None
    """Cache directory for decoded images."""
    prune: Annotated[float | None, Field(ge=0), Argument(default="delete nothing", metavar="DAYS")] = None
    """Delete the files without an image of a collection that was opened in the last DAYS days."""


@dataclass(frozen=True, kw_only=True)
class PushSettings:
    """Push the fine-tuned model or the encoder of a run to the Hugging Face Hub, with a model card."""

    run: Annotated[str, Argument(positional="RUN")]
    """Directory of a finished run."""
    repository: Annotated[str, Argument(positional="OWNER/NAME")]
    """Repository on the Hub; created if it does not exist."""
    license: str = "unknown"
    """License of the training images, for the model card."""
    private: bool = False
    """Create the repository as private."""
    dry_run: Annotated[str | None, Argument(default="upload", metavar="DIR")] = None
    """Write the files to this directory instead of uploading them."""


@dataclass(frozen=True, kw_only=True)
class ReportSettings:
    """Re-create report.html of finished runs; for several runs, also write a page that compares them."""

    runs: Annotated[tuple[str, ...], Argument(positional="RUN...")]
    """Directories of finished runs."""
    output: Annotated[str, Argument(alias="-o")] = "side_by_side.html"
    """HTML file for the comparison of several runs."""


@dataclass(frozen=True, kw_only=True)
class RunsSettings:
    """List finished, running and stopped runs with their scores."""

    directory: Annotated[str, Argument(positional="DIR")] = "runs"
    """Directory to search."""
    json: bool = False
    """Print JSON."""
