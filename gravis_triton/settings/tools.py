"""Settings of the jobs without training: features and predictions, export, datasets, reports and lists of runs."""

from dataclasses import dataclass
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from gravis_triton.settings.data import Columns, Workers
from gravis_triton.settings.ranges import Range


@dataclass(frozen=True, kw_only=True)
class EmbedSettings:
    """Extract image features: one row per image with id, path, label, split, group and features.

    Example: RUN/encoder DIR -o features.parquet. Run again to resume an interrupted job.
    """

    encoder: Annotated[str, Positional, arg(metavar="ENCODER")]
    """Encoder directory (RUN/encoder), hf:OWNER/NAME, imagenet or random."""
    data: Annotated[str, Positional, arg(metavar="DATA")]
    """Images: a directory (ISIC, HAM10000 or any folder of images), hf:OWNER/NAME, or synthetic."""
    columns: Columns = None
    """Columns of the table, such as image=photo,label=dx."""
    output: Annotated[str, arg(aliases=("-o",))] = "features.parquet"
    """Parquet file to write."""
    overwrite: bool = False
    """Replace an existing file."""
    model: Annotated[str | None, arg(metavar="STR", help_behavior_hint="(default: resnet18)")] = None
    """timm backbone for an imagenet or random encoder."""
    image_size: Annotated[
        int | None,
        Range(min=1, max=4096),
        arg(metavar="INT", help_behavior_hint="(default: the encoder's, else 224)"),
    ] = None
    """Size of the square input images in pixels."""
    dtype: Literal["float32", "float16"] = "float32"
    """Data type of the features in the file."""
    batch_size: Annotated[int, Range(min=1, max=1_000_000)] = 64
    """Images per batch and process."""
    num_workers: Workers = None
    """Worker processes that decode images; 0 decodes in the main process."""


@dataclass(frozen=True, kw_only=True)
class PredictSettings:
    """Predict diseases or lesion masks of images with a fine-tuned model.

    Example: RUN IMAGES... -o predictions. Run again to resume an interrupted job.
    """

    model: Annotated[str, Positional, arg(metavar="RUN")]
    """Directory of a fine-tuning run."""
    images: Annotated[tuple[str, ...], Positional, arg(metavar="IMAGES...")]
    """Image files or directories."""
    output_dir: Annotated[str, arg(aliases=("-o",))] = "predictions"
    """Directory for predictions.csv, and for masks (IMAGE_segmentation.png) or submission.csv."""
    format: Literal["csv", "parquet"] = "csv"
    """File format of the predictions."""
    overwrite: bool = False
    """Overwrite earlier predictions in a non-empty directory."""
    batch_size: Annotated[int, Range(min=1, max=1_000_000)] = 64
    """Images per batch and process."""
    num_workers: Workers = None
    """Worker processes that decode images; 0 decodes in the main process."""


@dataclass(frozen=True, kw_only=True)
class ExportSettings:
    """Export the fine-tuned model or the encoder of a run for timm, ONNX or torch.export, and verify the result.

    transformers loads the timm format, too. Both load RUN/encoder without an export.
    """

    run: Annotated[str, Positional, arg(metavar="RUN")]
    """Directory of a pre-training or fine-tuning run."""
    format: Literal["timm", "onnx", "torch-export"] = "onnx"
    """Format of the exported model."""
    output: Annotated[
        str | None, arg(aliases=("-o",), metavar="STR", help_behavior_hint="(default: RUN/export-FORMAT)")
    ] = None
    """Output directory."""
    overwrite: bool = False
    """Replace an existing directory."""


@dataclass(frozen=True, kw_only=True)
class CheckSettings:
    """Check a dataset: counts, unreadable images and masks, duplicates and leakage; exits with 1 on a fault."""

    data: Annotated[str, Positional, arg(metavar="DATA")]
    """Images: a directory, a CSV or Parquet table, hf:OWNER/NAME, or synthetic."""
    columns: Columns = None
    """Columns of the table, such as image=photo,label=dx."""
    num_workers: Annotated[
        int | None,
        Range(min=1, max=256),
        arg(metavar="INT", help_behavior_hint="(default: depends on the number of cores)"),
    ] = None
    """Threads for decoding."""
    json: bool = False
    """Print JSON."""
    page: Annotated[str | None, arg(metavar="FILE", help_behavior_hint="(default: none)")] = None
    """HTML file to write contact sheets to."""


@dataclass(frozen=True, kw_only=True)
class ShardsSettings:
    """Resize a dataset and write it as Parquet shards for --streaming."""

    data: Annotated[str, Positional, arg(metavar="DATA")]
    """Images: a directory, a CSV or Parquet table, hf:OWNER/NAME, or synthetic."""
    output: Annotated[str, Positional, arg(metavar="OUT")]
    """Output directory; must not exist."""
    columns: Columns = None
    """Columns of the table, such as image=photo,label=dx."""
    image_size: Annotated[int, Range(min=1, max=8192)] = 512
    """Short side of the images in pixels; smaller images are not resized."""
    images_per_shard: Annotated[int, Range(min=1)] = 1000
    """Number of images per shard."""


@dataclass(frozen=True, kw_only=True)
class PushSettings:
    """Push the fine-tuned model or the encoder of a run to the Hugging Face Hub, with a model card."""

    run: Annotated[str, Positional, arg(metavar="RUN")]
    """Directory of a finished run."""
    repository: Annotated[str, Positional, arg(metavar="OWNER/NAME")]
    """Repository on the Hub; created if it does not exist."""
    license: str = "unknown"
    """License of the training images, for the model card."""
    private: bool = False
    """Create the repository as private."""
    dry_run: Annotated[str | None, arg(metavar="DIR", help_behavior_hint="(default: upload)")] = None
    """Write the files to this directory instead of uploading them."""


@dataclass(frozen=True, kw_only=True)
class ReportSettings:
    """Re-create report.html of finished runs; for several runs, also write a page that compares them."""

    runs: Annotated[tuple[str, ...], Positional, arg(metavar="RUN...")]
    """Directories of finished runs."""
    output: Annotated[str, arg(aliases=("-o",))] = "side_by_side.html"
    """HTML file for the comparison of several runs."""


@dataclass(frozen=True, kw_only=True)
class RunsSettings:
    """List finished, running and stopped runs with their scores."""

    directory: Annotated[str, Positional, arg(metavar="DIR")] = "runs"
    """Directory to search."""
    json: bool = False
    """Print JSON."""
