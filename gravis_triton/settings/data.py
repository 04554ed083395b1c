"""Dataset, splits and loading."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from gravis_triton.settings.fields import Argument

Workers = Annotated[int | None, Field(ge=0, le=256), Argument(default="one per core, at most 8")]


@dataclass(frozen=True, kw_only=True)
class ReadSettings:
    """How the dataset is read."""

    columns: Annotated[str | None, Argument(default="recognized by name")] = None
    """Columns of the table: image=photo,label=dx,group=patient,mask=segmentation,split=fold; label= reads none."""
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


@dataclass(frozen=True, kw_only=True)
class StreamingSettings:
    """Training on image shards without a cache."""

    streaming: bool = False
    """Stream images from Parquet or WebDataset shards (hf:OWNER/NAME or a directory) instead of caching them."""
    shuffle_buffer: Annotated[int, Field(ge=1)] = 1000
    """Shuffle buffer size per process in images, kept encoded in memory."""
    steps_per_epoch: Annotated[int | None, Field(ge=1), Argument(default="all images minus 2% spares")] = None
    """Optimizer steps per epoch of streamed images."""
