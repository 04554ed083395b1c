"""Write the features of images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor, nn

from gravis_triton.data import Collection, open_collection
from gravis_triton.data.datasets.records import fingerprint_of
from gravis_triton.data.loading.loader import collate_central_squares
from gravis_triton.errors import UserError
from gravis_triton.evaluation.features import finite_features
from gravis_triton.inference.image_table import ImageTable, join_processes
from gravis_triton.models import Preprocessing, eval_mode, feature_dim, weights_hash
from gravis_triton.settings.defaults import default_cache_size
from gravis_triton.settings.groups import DataSettings
from gravis_triton.settings.jobs import EmbedSettings
from gravis_triton.workflows.job import open_initial_encoder


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
    opened = open_initial_encoder(settings, display)
    size = opened.image_size
    preprocess = Preprocessing.of(opened.encoder, image_size=size, cache_size=default_cache_size(size))

    # the images, and the table of their features
    collection = open_collection(settings.data, synthetic_images=DataSettings.synthetic_images, **settings.reading())
    file = Path(settings.output)
    if file.suffix != ".parquet":
        raise UserError(f"--output {file} must end in .parquet")
    encoder, dtype = opened.encoder.to(processes.device), np.dtype(settings.dtype)
    records = collection.records
    described = [f"{r.id}:{r.label}:{r.split}:{r.group}:{r.image.fingerprint()}" for r in records]
    network = [weights_hash(encoder), repr(preprocess), str(pa.from_numpy_dtype(dtype))]
    images, names = [record.image for record in records], [record.id for record in records]
    table = ImageTable(file, images, names, fingerprint_of([*network, *collection.classes, *described]))

    def rows(indices: Sequence[int], squares: Tensor | None) -> pa.Table:
        return feature_rows(encoder, collection, indices, squares, preprocess=preprocess, dtype=dtype)

    table.write(rows, settings, display, short_side=preprocess.cache_size, collate=collate_central_squares)
    ids = set(pq.read_table(file, columns=["id"])["id"].to_pylist())
    skipped = tuple(record.id for record in records if record.id not in ids)
    display.print(f"features of {len(ids):,} of {len(records):,} images: {file}")
    return EmbedResult(file, len(ids), skipped)


def feature_rows(
    encoder: nn.Module,
    collection: Collection,
    indices: Sequence[int],
    squares: Tensor | None,
    *,
    preprocess: Preprocessing,
    dtype: np.dtype[Any],
) -> pa.Table:
    """id, path, label, split, group and features of images of a collection, from their central squares.

    dtype: of the features. Raises UserError for features that are not finite.
    """
    dim, device = feature_dim(encoder), next(encoder.parameters()).device
    with eval_mode(encoder):
        features = torch.empty(0, dim) if squares is None else encoder(preprocess(squares.to(device))).float().cpu()
    numbers = finite_features(features).numpy().astype(dtype).ravel()
    if not np.isfinite(numbers).all():
        raise UserError("features are too large for --dtype float16: use float32")
    records = [collection.records[index] for index in indices]
    text = {
        "id": [record.id for record in records],
        "path": [str(getattr(record.image, "path", "")) or None for record in records],
        "label": [collection.class_names(record) for record in records],
        "split": [record.split for record in records],
        "group": [record.group for record in records],
    }
    columns = {name: pa.array(values, pa.string()) for name, values in text.items()}
    return pa.table({**columns, "features": pa.FixedSizeListArray.from_arrays(pa.array(numbers), dim)})
