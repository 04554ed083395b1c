"""Write the features of images."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import gravis_triton.training as training
from gravis_triton.data.datasets.open import open_collection
from gravis_triton.errors import UserError
from gravis_triton.inference import FeatureRows, TableFile, join_processes, write_table
from gravis_triton.models import Preprocessing, open_encoder
from gravis_triton.settings import DataSettings, EmbedSettings, default_cache_size, default_image_size


@dataclass(frozen=True, slots=True)
class EmbedResult:
    """file: the Parquet table. images: number of rows in it. skipped: ids of the images that could not be read."""

    file: Path
    images: int
    skipped: tuple[str, ...]

    @property
    def table(self) -> pa.Table:
        """The Arrow table with the columns id, path, label, split, group and features; `.to_pandas()` converts it."""
        return pq.read_table(self.file)

    @property
    def features(self) -> np.ndarray:
        """The features, (images, dim)."""
        column = pq.read_table(self.file, columns=["features"])["features"].combine_chunks()
        return column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), column.type.list_size)

    @property
    def labels(self) -> np.ndarray:
        """The class of each image, (images,); None if unknown."""
        return pq.read_table(self.file, columns=["label"])["label"].to_numpy()


def embed(settings: EmbedSettings) -> EmbedResult:
    """Encode all images of a collection, each once, and write a row per image to a Parquet file.

    An interrupted job resumes after its finished rows, and a finished one is not repeated. Unreadable images are
    skipped, each with a line on stderr. Call it in every process of a distributed launch. Raises UserError for
    anything the user can fix.
    """
    processes, display = join_processes()

    # the encoder
    training.seed_step(0, 0, 0)  # random weights are the ones pre-training starts from
    opened = open_encoder(
        settings.encoder,
        model=settings.model,
        image_size=settings.image_size,
        default_size=default_image_size(settings.data),
    )
    display.print(opened.loaded)
    preprocess = Preprocessing.of(
        opened.encoder, image_size=opened.image_size, cache_size=default_cache_size(opened.image_size)
    )

    # the images, and the table for their features
    collection = open_collection(settings.data, synthetic_images=DataSettings.synthetic_images, **settings.reading())
    file = Path(settings.output)
    if file.suffix != ".parquet":
        raise UserError(f"--output {file} must end in .parquet")
    encoder = opened.encoder.to(processes.device)
    rows = FeatureRows(encoder, collection, preprocess=preprocess, dtype=settings.dtype)
    write_table(
        TableFile(file, len(rows.images), rows.fingerprint()),
        rows,
        processes,
        display,
        description="embedding",
        batch_size=settings.batch_size,
        workers=settings.num_workers,
        overwrite=settings.overwrite,
    )
    ids = set(pq.read_table(file, columns=["id"])["id"].to_pylist())
    skipped = tuple(record.id for record in collection.records if record.id not in ids)
    display.print(f"features of {len(ids):,} of {len(collection.records):,} images: {file}")
    return EmbedResult(file, len(ids), skipped)
