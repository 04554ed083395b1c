"""Scores, files and figures of predicted classes."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from gravis_triton.data import Collection
from gravis_triton.evaluation import (
    ClassificationScores,
    classification_scores,
    write_class_probabilities_csv,
    write_submission_csv,
)
from gravis_triton.report.classification_figures import draw_confusion, draw_curves
from gravis_triton.report.figures import write_figure
from gravis_triton.run_directory import RunDirectory

_KINDS = ("image_scores.csv", "submission.csv", "confusion.png", "curves.png")


def write_class_predictions(
    run: RunDirectory,
    collection: Collection,
    indices: Sequence[int],
    probabilities: Tensor,
    *,
    name: str = "",
    caption: str = "",
) -> ClassificationScores:
    """Score the predicted class probabilities (images, classes) of the labeled images `indices` of a collection.

    Writes image_scores.csv, submission.csv, confusion.png and curves.png; with a name, image_scores_NAME.csv and so
    on. caption: of the figures. Raises ValueError like `classification_scores`.
    """
    ids = [collection.records[index].id for index in indices]
    labels = np.array(collection.labels(indices))
    classes, scored = collection.classes, collection.scored_classes
    scores = classification_scores(probabilities, labels, classes=classes, scored=scored)
    files = {kind: run.predictions(kind, name) for kind in _KINDS}
    groups = [collection.records[index].group for index in indices]
    write_class_probabilities_csv(
        files["image_scores.csv"], ids, labels, probabilities, classes=classes, groups=groups
    )
    write_submission_csv(files["submission.csv"], collection.name, ids, probabilities, classes=classes)
    write_figure(draw_confusion(scores), files["confusion.png"], caption=caption)
    curves = draw_curves(probabilities, labels, classes=classes, scored=scored)
    write_figure(curves, files["curves.png"], caption=caption)
    return scores
