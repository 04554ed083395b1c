"""What a run leaves behind of predicted diagnoses: scores, files for statistics and for a challenge, pictures."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from gravis_triton.data import Collection
from gravis_triton.evaluation import (
    ClassificationScores,
    classification_scores,
    write_diagnoses_csv,
    write_submission_csv,
)
from gravis_triton.report.classification_pictures import draw_confusion, draw_curves
from gravis_triton.report.figures import write_figure


def report_diagnoses(
    run: Path, collection: Collection, indices: Sequence[int], probabilities: Tensor, *, name: str = ""
) -> ClassificationScores:
    """Score the predicted class probabilities (images, classes) of the labelled images `indices` of a collection.

    Writes into `run`: image_scores.csv, submission.csv, confusion.png and curves.png; image_scores_NAME.csv and so on
    with a name. Raises ValueError as `classification_scores` does.
    """
    records = [collection.records[index] for index in indices]
    ids = [record.id for record in records]
    labels = np.array([-1 if record.label is None else record.label for record in records])  # -1 is refused
    classes, scored = collection.classes, collection.scored_classes
    suffix = f"_{name}" if name else ""
    scores = classification_scores(probabilities, labels, classes=classes, scored=scored)
    write_diagnoses_csv(run / f"image_scores{suffix}.csv", ids, labels, probabilities, classes=classes)
    write_submission_csv(
        run / f"submission{suffix}.csv", collection.name, ids, probabilities, classes=classes
    )
    write_figure(draw_confusion(scores), run / f"confusion{suffix}.png")
    write_figure(
        draw_curves(probabilities, labels, classes=classes, scored=scored), run / f"curves{suffix}.png"
    )
    return scores
