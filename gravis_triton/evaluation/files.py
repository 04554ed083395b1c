"""Files of predictions and of scores: what a challenge takes, and one row an image for statistics afterwards.

Every file appears whole or not at all. Numbers have nine significant digits, all that a float32 holds: what is ranked
or tied stays so.
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

from gravis_triton.evaluation.segmentation import MaskScores
from gravis_triton.files import write_whole


def write_submission_csv(
    file: Path, data_set: str, ids: Sequence[str], probabilities: ArrayLike, *, classes: Sequence[str]
) -> None:
    """Predicted probabilities (images, classes), rows in the order of `ids`, as the challenge of `data_set` takes them.

    data_set: the collection's name. ISIC 2017: image_id,melanoma,seborrheic_keratosis. ISIC 2018 and HAM10000, which is
    its training set: image,MEL,NV,...; ISIC 2019: with SCC and UNK. ISIC 2020: image_name,target (probability of
    malignant). ISIC 2016: image and probability of malignant, without a header. Any other: image and a column a class.
    In all of them a value above 0.5 officially counts as positive; the AUCs do not depend on it.
    """
    header, columns = _submission_columns(data_set, classes)
    p = np.asarray(probabilities, np.float64)
    chosen = [p[:, classes.index(name)] for name in columns.values()]
    rows = ([name, *map(_number, values)] for name, *values in zip(ids, *chosen, strict=True))
    titles = [] if header is None else [[header, *columns]]
    write_whole(file, _csv([*titles, *rows]))


def _submission_columns(data_set: str, classes: Sequence[str]) -> tuple[str | None, Mapping[str, str]]:
    """(title of the id column, column title -> class); no title: no header at all."""
    match data_set:
        case "ISIC 2016":
            return None, {"confidence": "malignant"}
        case "ISIC 2017":
            return "image_id", {name: name for name in ("melanoma", "seborrheic_keratosis")}
        case "ISIC 2020":
            return "image_name", {"target": "malignant"}
        case "HAM10000":
            return "image", {name.upper(): name for name in classes}
        case _:
            return "image", {name: name for name in classes}


def write_diagnoses_csv(
    file: Path,
    ids: Sequence[str],
    labels: ArrayLike,
    probabilities: ArrayLike,
    *,
    classes: Sequence[str],
) -> None:
    """One row an image: image_id, label (the name of its true class), and the probability of each class."""
    rows = zip(ids, np.asarray(labels), np.asarray(probabilities, np.float64), strict=True)
    lines = ([name, classes[label], *map(_number, values)] for name, label, values in rows)
    write_whole(file, _csv([["image_id", "label", *classes], *lines]))


def write_mask_scores_csv(file: Path, ids: Sequence[str], scores: Sequence[MaskScores]) -> None:
    """One row an image: image_id, jaccard, dice, accuracy, sensitivity, specificity."""
    titles = list(MaskScores.__dataclass_fields__)
    lines = ([name, *map(_number, asdict(one).values())] for name, one in zip(ids, scores, strict=True))
    write_whole(file, _csv([["image_id", *titles], *lines]))


def save_mask(directory: Path, image_id: str, mask: Tensor) -> Path:
    """Write a bool mask (height, width) as the challenges take it: IMAGE_ID_segmentation.png, 255 where lesion, else 0.

    Returns the file's path.
    """
    file = mask_file(directory, image_id)
    file.parent.mkdir(parents=True, exist_ok=True)  # the id of an image in a folder of its own has a slash
    png = io.BytesIO()
    Image.fromarray(mask.cpu().numpy().astype(np.uint8) * 255).save(png, "PNG")
    write_whole(file, png.getvalue())
    return file


def mask_file(directory: Path, image_id: str) -> Path:
    """Where `save_mask` writes."""
    return directory / f"{image_id}_segmentation.png"


def _number(value: float) -> str:
    return f"{value:.9g}"


def _csv(rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
