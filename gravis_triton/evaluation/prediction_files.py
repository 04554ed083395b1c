"""Prediction and score files: challenge submissions, and CSV files with one row per image.

Files are written atomically. Numbers have nine significant digits, which identify a float32 and keep ranks and ties.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image
from torch import Tensor

from gravis_triton.data import Collection, Record
from gravis_triton.evaluation.classification import ClassificationScores, classification_scores
from gravis_triton.evaluation.segmentation import MaskScores
from gravis_triton.files import atomic_write, inside, to_bytes
from gravis_triton.run_directory import RunDirectory

_Row = Sequence[str | float]
_SINGLE_CLASSES: Mapping[str, tuple[str | None, Mapping[str, str]]] = {
    "ISIC 2016": (None, {"confidence": "malignant"}),
    "ISIC 2017": ("image_id", {"melanoma": "melanoma", "seborrheic_keratosis": "seborrheic_keratosis"}),
    "ISIC 2020": ("image_name", {"target": "malignant"}),
}
"""Challenges that ask for single classes -> as `_submission_columns` returns them."""


def write_submission_csv(
    file: Path, data_set: str, ids: Sequence[str], probabilities: ArrayLike, *, classes: Sequence[str]
) -> None:
    """Write probabilities (images, classes), rows in the order of `ids`, in the format of the challenge of `data_set`.

    data_set: the collection's name. ISIC 2017: image_id,melanoma,seborrheic_keratosis. ISIC 2018 and its training set
    HAM10000: image,MEL,NV,...; ISIC 2019: also SCC and UNK. ISIC 2020: image_name,target (probability of malignant).
    ISIC 2016: image and probability of malignant, without a header. Others: image and one column per class.
    The challenges count a value above 0.5 as positive; AUCs do not depend on it.
    """
    header, columns = _submission_columns(data_set, classes)
    if not set(columns.values()) <= set(classes):  # an image folder of that name with other classes
        header, columns = _submission_columns("", classes)
    p = np.asarray(probabilities, np.float64)[:, [classes.index(name) for name in columns.values()]]
    rows = [[image_id, *row] for image_id, row in zip(ids, p.tolist(), strict=True)]
    _write_csv(file, rows if header is None else [[header, *columns], *rows])


def _submission_columns(data_set: str, classes: Sequence[str]) -> tuple[str | None, Mapping[str, str]]:
    """(title of the id column, column title -> class); the title is None for a file without a header."""
    if data_set in _SINGLE_CLASSES:
        return _SINGLE_CLASSES[data_set]
    return "image", {name.upper() if data_set == "HAM10000" else name: name for name in classes}


def write_class_predictions(
    run: RunDirectory,
    collection: Collection,
    indices: Sequence[int],
    probabilities: ArrayLike,
    *,
    name: str = "",
) -> ClassificationScores:
    """The scores of the predicted class probabilities (images, classes) of labeled images of a collection.

    Writes image_scores.csv and submission.csv; with a name, image_scores_NAME.csv and so on. Raises ValueError like
    `classification_scores`.
    """
    records = [collection.records[index] for index in indices]
    labels, classes = np.array(collection.labels(indices)), collection.classes
    scores = classification_scores(probabilities, labels, classes=classes, scored=collection.scored_classes)
    file, submission = (run.predictions(kind, name) for kind in ("image_scores.csv", "submission.csv"))
    write_class_probabilities_csv(file, records, labels, probabilities, classes=classes)
    ids = [record.id for record in records]
    write_submission_csv(submission, collection.name, ids, probabilities, classes=classes)
    return scores


def write_class_probabilities_csv(
    file: Path, records: Sequence[Record], labels: ArrayLike, probabilities: ArrayLike, *, classes: Sequence[str]
) -> None:
    """One row per image: image_id, group if any image has one, label (the name of its true class), and the probability
    of each class. For several classes per image: labels, their names between bars."""
    known, p = np.asarray(labels), np.asarray(probabilities, np.float64)
    of_image = known[:, None].tolist() if known.ndim == 1 else [np.flatnonzero(row).tolist() for row in known]
    names = ["|".join(classes[index] for index in own) for own in of_image]
    rows = [[name, *row] for name, row in zip(names, p.tolist(), strict=True)]
    _write_image_csv(file, records, ["label" if known.ndim == 1 else "labels", *classes], rows)


def write_mask_scores_csv(file: Path, records: Sequence[Record], scores: Sequence[MaskScores]) -> None:
    """One row per image: image_id, group if any image has one, jaccard, dice, accuracy, sensitivity, specificity."""
    rows = [list(asdict(of_image).values()) for of_image in scores]
    _write_image_csv(file, records, list(MaskScores.__dataclass_fields__), rows)


def _write_image_csv(file: Path, records: Sequence[Record], header: Sequence[str], rows: Iterable[_Row]) -> None:
    """One row per image: image_id, group if any image has one, and the given columns."""
    columns = {"image_id": [record.id for record in records]}
    if any(record.group for record in records):
        columns["group"] = [record.group or "" for record in records]
    images = zip(*columns.values(), strict=True)
    _write_csv(file, [[*columns, *header], *([*image, *row] for image, row in zip(images, rows, strict=True))])


def _write_csv(file: Path, rows: Iterable[_Row]) -> None:
    text = io.StringIO()
    written = ([f"{cell:.9g}" if isinstance(cell, float) else cell for cell in row] for row in rows)
    csv.writer(text, lineterminator="\n").writerows(written)
    atomic_write(file, text.getvalue())


def save_mask(directory: Path, image_id: str, mask: Tensor) -> Path:
    """Write a bool mask (height, width) as IMAGE_ID_segmentation.png, 255 for lesion, else 0: the challenges' format.

    Returns the path of the file.
    """
    file = mask_file(directory, image_id)
    file.parent.mkdir(parents=True, exist_ok=True)  # the id of an image in a subfolder has a slash
    image = Image.fromarray(mask.cpu().numpy().astype(np.uint8) * 255)
    atomic_write(file, to_bytes(lambda opened: image.save(opened, "PNG")))
    return file


def mask_file(directory: Path, image_id: str) -> Path:
    """The file that `save_mask` writes. Raises UserError for an id that points outside the directory."""
    return inside(directory, f"{image_id}_segmentation.png")
