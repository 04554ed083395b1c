"""Features of images as a table."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from gravis_triton.data.datasets.records import Collection, fingerprint_of
from gravis_triton.errors import UserError
from gravis_triton.evaluation.features import finite_features
from gravis_triton.models import evaluating
from gravis_triton.prediction.inputs import InputSettings
from gravis_triton.prediction.weights_hash import weights_hash


class Embedder:
    """Features of the central squares of images as rows of a table: id, path, label, split, group, features.

    dtype: of the features, float32 or float16.
    """

    def __init__(
        self, encoder: nn.Module, collection: Collection, *, inputs: InputSettings, dtype: str
    ) -> None:
        self.encoder, self.collection, self.inputs = encoder, collection, inputs
        self.dtype = pa.float16() if dtype == "float16" else pa.float32()
        self.device = next(encoder.parameters()).device

    def fingerprint(self) -> str:
        """A short string that changes with anything that the rows depend on."""
        images = [
            f"{r.id}:{r.label}:{r.split}:{r.group}:{r.image.fingerprint()}" for r in self.collection.records
        ]
        classes = self.collection.classes
        return fingerprint_of(
            [weights_hash(self.encoder), repr(self.inputs), str(self.dtype), *classes, *images]
        )

    def rows(self, indices: Sequence[int], squares: Tensor | None) -> pa.Table:
        """Rows of the images `indices`, squares (images, 3, side, side) uint8. Raises UserError for features that are
        not finite."""
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
        with evaluating(self.encoder):
            return self.encoder(self.inputs.squares(squares.to(self.device))).float().cpu()


def _path(image: object) -> str | None:
    """The path of an image that has its own file, else None."""
    path = getattr(image, "path", None)
    return None if path is None else str(path)
