"""Write the features of images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor, nn

from gravis_triton.data import Collection, ImageReference, open_collection
from gravis_triton.data.datasets.records import fingerprint_of
from gravis_triton.data.loading.loader import collate_central_squares
from gravis_triton.errors import UserError
from gravis_triton.evaluation.features import finite_features
from gravis_triton.inference.image_table import TableFile, join_processes, write_table
from gravis_triton.models import Preprocessing, eval_mode, weights_hash
from gravis_triton.settings import DataSettings, EmbedSettings, default_cache_size
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
    write_table(TableFile(file, len(rows.images), rows.fingerprint()), rows, processes, display, settings)
    ids = set(pq.read_table(file, columns=["id"])["id"].to_pylist())
    skipped = tuple(record.id for record in collection.records if record.id not in ids)
    display.print(f"features of {len(ids):,} of {len(collection.records):,} images: {file}")
    return EmbedResult(file, len(ids), skipped)


class FeatureRows:
    """Features of the central squares of a collection's images: id, path, label, split, group, features.

    dtype: of the features, float32 or float16.
    """

    verb = "embedding"
    collate = staticmethod(collate_central_squares)

    def __init__(self, encoder: nn.Module, collection: Collection, *, preprocess: Preprocessing, dtype: str) -> None:
        self.encoder, self.collection, self.preprocess = encoder, collection, preprocess
        self.dtype = pa.float16() if dtype == "float16" else pa.float32()
        self.images: Sequence[ImageReference] = [record.image for record in collection.records]
        self.names: Sequence[str] = [record.id for record in collection.records]

    def fingerprint(self) -> str:
        images = [f"{r.id}:{r.label}:{r.split}:{r.group}:{r.image.fingerprint()}" for r in self.collection.records]
        classes = self.collection.classes
        return fingerprint_of([weights_hash(self.encoder), repr(self.preprocess), str(self.dtype), *classes, *images])

    def __call__(self, indices: Sequence[int], squares: Tensor | None) -> pa.Table:
        """Raises UserError for features that are not finite."""
        records = [self.collection.records[index] for index in indices]
        text = {
            "id": [record.id for record in records],
            "path": [_path(record.image) for record in records],
            "label": [self.collection.class_names(record) for record in records],
            "split": [record.split for record in records],
            "group": [record.group for record in records],
        }
        columns = {name: pa.array(values, pa.string()) for name, values in text.items()}
        return pa.table({**columns, "features": self._features(squares)})

    def _features(self, squares: Tensor | None) -> pa.FixedSizeListArray:
        dim = int(self.encoder.head_hidden_size)  # type: ignore[arg-type]
        features = finite_features(torch.empty(0, dim) if squares is None else self._encode(squares))
        values = features.numpy().astype(self.dtype.to_pandas_dtype()).ravel()
        if not np.isfinite(values).all():
            raise UserError("features are too large for --dtype float16: use float32")
        return pa.FixedSizeListArray.from_arrays(pa.array(values, self.dtype), dim)

    def _encode(self, squares: Tensor) -> Tensor:
        with eval_mode(self.encoder):
            device = next(self.encoder.parameters()).device
            return self.encoder(self.preprocess(squares.to(device))).float().cpu()


def _path(image: object) -> str | None:
    """The path of an image that has its own file, else None."""
    path = getattr(image, "path", None)
    return None if path is None else str(path)
