"""Predictions of image files as rows of a table."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import torch
from torch import Tensor

from gravis_triton.data.datasets.records import fingerprint_of
from gravis_triton.data.datasets.references import file_fingerprint
from gravis_triton.data.loading.loader import ImageBatch, collate_central_squares, collate_images
from gravis_triton.evaluation import save_mask
from gravis_triton.evaluation.segmentation import resize_probability
from gravis_triton.prediction.class_predictor import ClassPredictor
from gravis_triton.prediction.inputs import native_size
from gravis_triton.prediction.mask_predictor import MaskPredictor
from gravis_triton.prediction.weights_hash import weights_hash


class ClassRows:
    """Rows with image, path, and the probability of each class."""

    collate = staticmethod(collate_central_squares)

    def __init__(self, predictor: ClassPredictor, files: Sequence[Path]) -> None:
        self.predictor, self.files = predictor, files

    def __call__(self, indices: Sequence[int], squares: Tensor | None) -> pa.Table:
        classes = self.predictor.classes
        rows = torch.empty(0, len(classes)) if squares is None else self.predictor.probabilities(squares)
        probabilities = {name: pa.array(rows[:, i].numpy()) for i, name in enumerate(classes)}
        return pa.table(_names(self.files, indices) | probabilities)


class MaskRows:
    """Rows with image, path, mask (its file in `directory`), and lesion_fraction of the image."""

    collate = staticmethod(collate_images)

    def __init__(self, predictor: MaskPredictor, files: Sequence[Path], directory: Path) -> None:
        self.predictor, self.files, self.directory = predictor, files, directory

    def __call__(self, indices: Sequence[int], batch: ImageBatch | None) -> pa.Table:
        probabilities = [] if batch is None else list(self.predictor.probabilities(batch))
        with (
            ThreadPoolExecutor() as threads
        ):  # resizing and PNG encoding of large masks take as long as the network
            written = list(threads.map(self._write, indices, probabilities))
        masks = {
            "mask": pa.array([name for name, _ in written], pa.string()),
            "lesion_fraction": pa.array([fraction for _, fraction in written], pa.float32()),
        }
        return pa.table(_names(self.files, indices) | masks)

    def _write(self, index: int, probability: Tensor) -> tuple[str, float]:
        file = self.files[index]
        mask = resize_probability(probability, native_size(file))
        return save_mask(self.directory, file.stem, mask).name, mask.float().mean().item()


def rows_fingerprint(predictor: ClassPredictor | MaskPredictor, files: Sequence[Path]) -> str:
    """A short string that changes with anything that the rows depend on."""
    settings = [repr(predictor.inputs), str(predictor.tta), *getattr(predictor, "classes", ())]
    images = [f"{file}:{file_fingerprint(file)}" for file in files]
    return fingerprint_of([weights_hash(predictor.network), *settings, *images])


def _names(files: Sequence[Path], indices: Sequence[int]) -> dict[str, pa.Array]:
    chosen = [files[index] for index in indices]
    return {
        "image": pa.array([file.stem for file in chosen], pa.string()),
        "path": pa.array(map(str, chosen), pa.string()),
    }
