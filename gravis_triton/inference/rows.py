"""The rows of a table about images: their features, or the predictions of a fine-tuned model."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from gravis_triton.data import ImageFile, ImageReference
from gravis_triton.data.datasets.records import Collection, fingerprint_of
from gravis_triton.data.loading.loader import collate_central_squares
from gravis_triton.errors import UserError
from gravis_triton.evaluation.features import finite_features
from gravis_triton.models import Preprocessing, eval_mode
from gravis_triton.tasks import Predictor


class FeatureRows:
    """Features of the central squares of a collection's images: id, path, label, split, group, features.

    dtype: of the features, float32 or float16.
    """

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
        classes = self.collection.classes
        text = {
            "id": [record.id for record in records],
            "path": [_path(record.image) for record in records],
            "label": [None if record.label is None else classes[record.label] for record in records],
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


class PredictionRows:
    """Predictions of image files: image, path, and the columns of the predictor.

    directory: for predictions that are files themselves, such as masks.
    """

    def __init__(self, predictor: Predictor, files: Sequence[Path], directory: Path) -> None:
        self.predictor, self.files, self.directory = predictor, files, directory
        self.preprocess, self.collate = predictor.preprocess, predictor.collate
        self.images: Sequence[ImageReference] = [ImageFile(file) for file in files]
        self.names: Sequence[str] = [str(file) for file in files]

    def fingerprint(self) -> str:
        predictor = self.predictor
        images = [f"{name}:{image.fingerprint()}" for name, image in zip(self.names, self.images, strict=True)]
        settings = [repr(predictor.preprocess), str(predictor.tta), *predictor.classes]
        return fingerprint_of([weights_hash(predictor.network), *settings, *images])

    def __call__(self, indices: Sequence[int], batch: Any | None) -> pa.Table:
        files = [self.files[index] for index in indices]
        named = {
            "image": pa.array([file.stem for file in files], pa.string()),
            "path": pa.array(map(str, files), pa.string()),
        }
        return pa.table(named | self.predictor.columns(files, batch, self.directory))


def weights_hash(network: nn.Module) -> str:
    """A hash of all tensors of a network."""
    digest = hashlib.sha256()
    for tensor in network.state_dict().values():
        digest.update(tensor.cpu().contiguous().numpy())
    return digest.hexdigest()


def _path(image: object) -> str | None:
    """The path of an image that has its own file, else None."""
    path = getattr(image, "path", None)
    return None if path is None else str(path)
