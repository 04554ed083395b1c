"""The settings of the jobs that train nothing: features and predictions, export, data sets, pages and lists of runs."""

from dataclasses import dataclass
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from gravis_triton.settings.data import Columns, Workers
from gravis_triton.settings.ranges import Range


@dataclass(frozen=True, kw_only=True)
class EmbedSettings:
    """Write the features of images: a row per image with id, path, label, split, group and features.

    Typical: RUN/encoder DIR -o features.parquet. Start it again to continue an interrupted job.
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
    """Replace a file that is there already."""
    model: Annotated[str | None, arg(metavar="STR", help_behavior_hint="(default: resnet18)")] = None
    """timm backbone of an imagenet or random encoder."""
    image_size: Annotated[
        int | None,
        Range(min=1, max=4096),
        arg(metavar="INT", help_behavior_hint="(default: the encoder's, else 224)"),
    ] = None
    """Side of the square images in pixels."""
    dtype: Literal["float32", "float16"] = "float32"
    """Type of the features in the file."""
    batch_size: Annotated[int, Range(min=1, max=1_000_000)] = 64
    """Images per batch and process."""
    num_workers: Workers = None
    """Worker processes that decode images; 0 decodes in the main process."""


@dataclass(frozen=True, kw_only=True)
class PredictSettings:
    """Predict diseases or lesion masks of images with a fine-tuned model.

    Typical: RUN IMAGES... -o predictions. Start it again to continue an interrupted job.
    """

    model: Annotated[str, Positional, arg(metavar="RUN")]
    """Directory of a fine-tuning run."""
    images: Annotated[tuple[str, ...], Positional, arg(metavar="IMAGES...")]
    """Image files, or directories of them."""
    output_dir: Annotated[str, arg(aliases=("-o",))] = "predictions"
    """Directory for predictions.csv, and for masks (IMAGE_segmentation.png) or submission.csv."""
    format: Literal["csv", "parquet"] = "csv"
    """Format of the table of predictions."""
    overwrite: bool = False
    """Write into a directory that is not empty, over earlier predictions."""
    batch_size: Annotated[int, Range(min=1, max=1_000_000)] = 64
    """Images per batch and process."""
    num_workers: Workers = None
    """Worker processes that decode images; 0 decodes in the main process."""


@dataclass(frozen=True, kw_only=True)
class ExportSettings:
    """Export the fine-tuned model of a run, else its encoder, for timm, ONNX or torch.export, and check the result.

    transformers opens what timm does. RUN/encoder needs no export for them.
    """

    run: Annotated[str, Positional, arg(metavar="RUN")]
    """Directory of a pre-training or fine-tuning run."""
    format: Literal["timm", "onnx", "torch-export"] = "onnx"
    """Format of the exported network."""
    output: Annotated[
        str | None, arg(aliases=("-o",), metavar="STR", help_behavior_hint="(default: RUN/export-FORMAT)")
    ] = None
    """Directory to write."""
    overwrite: bool = False
    """Replace a directory that is there already."""


@dataclass(frozen=True, kw_only=True)
class CheckSettings:
    """Check a data set: counts, unreadable images and masks, duplicates and leaks; exits with 1 on a fault."""

    data: Annotated[str, Positional, arg(metavar="DATA")]
    """Images: a directory, a CSV or Parquet table, hf:OWNER/NAME, or synthetic."""
    columns: Columns = None
    """Columns of the table, such as image=photo,label=dx."""
    num_workers: Annotated[
        int | None,
        Range(min=1, max=256),
        arg(metavar="INT", help_behavior_hint="(default: by the number of cores)"),
    ] = None
    """Threads for decoding."""
    json: bool = False
    """Print JSON."""
    page: Annotated[str | None, arg(metavar="FILE", help_behavior_hint="(default: none)")] = None
    """HTML file to write contact sheets to."""


@dataclass(frozen=True, kw_only=True)
class ShardsSettings:
    """Write a data set, resized, as Parquet shards for --streaming."""

    data: Annotated[str, Positional, arg(metavar="DATA")]
    """Images: a directory, a CSV or Parquet table, hf:OWNER/NAME, or synthetic."""
    output: Annotated[str, Positional, arg(metavar="OUT")]
    """Directory to write to; must not exist."""
    columns: Columns = None
    """Columns of the table, such as image=photo,label=dx."""
    image_size: Annotated[int, Range(min=1, max=8192)] = 512
    """Short side of the images in pixels; smaller images stay as they are."""
    images_per_shard: Annotated[int, Range(min=1)] = 1000
    """Number of images per shard."""


@dataclass(frozen=True, kw_only=True)
class PushSettings:
    """Push the fine-tuned model of a run, else its encoder, to the Hugging Face hub, with a model card."""

    run: Annotated[str, Positional, arg(metavar="RUN")]
    """Directory of a finished run."""
    repository: Annotated[str, Positional, arg(metavar="OWNER/NAME")]
    """Repository on the hub; made if it does not exist."""
    license: str = "unknown"
    """License of the images that it was trained on, for the model card."""
    private: bool = False
    """Make a new repository private."""
    dry_run: Annotated[str | None, arg(metavar="DIR", help_behavior_hint="(default: upload)")] = None
    """Write what would be uploaded to this directory instead."""


@dataclass(frozen=True, kw_only=True)
class ReportSettings:
    """Write report.html of finished runs anew; with several runs, also a page that sets them side by side."""

    runs: Annotated[tuple[str, ...], Positional, arg(metavar="RUN...")]
    """Directories of finished runs."""
    output: Annotated[str, arg(aliases=("-o",))] = "side_by_side.html"
    """Page of several runs."""


@dataclass(frozen=True, kw_only=True)
class RunsSettings:
    """List finished, running and stopped runs with their scores."""

    directory: Annotated[str, Positional, arg(metavar="DIR")] = "runs"
    """Directory to search."""
    json: bool = False
    """Print JSON."""
