"""What finished cells found: scores from summary.json, predictions image by image from their CSV files."""

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gravis_triton.comparison.bootstrap import Diagnoses, Masks
from gravis_triton.comparison.cells import Cell
from gravis_triton.comparison.grid import PRETRAIN
from gravis_triton.errors import UserError
from gravis_triton.evaluation.segmentation import JACCARD_THRESHOLD
from gravis_triton.files import write_whole

SCORES = {
    "knn": ("mean_auc", "balanced_accuracy"),
    "probe": ("mean_auc", "balanced_accuracy"),
    "classification": ("mean_auc", "balanced_accuracy"),
    "segmentation": ("jaccard", "thresholded_jaccard", "dice"),
}
"""Task as it is reported -> its scores, the main one first."""
_FROZEN = ("knn", "probe")  # what the task `evaluate` is reported as


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The scores of one cell on one task.

    values: all numbers of its summary. images: the CSV file of its predictions, image by image.
    """

    encoder: str
    task: str
    label_fraction: float
    seed: int
    values: dict[str, float]
    directory: Path
    images: Path


def read_results(cells: Iterable[Cell]) -> list[Result]:
    """The results of all finished cells; pre-training has none."""
    return [result for cell in cells if cell.finished and cell.task != PRETRAIN for result in _read(cell)]


def _read(cell: Cell) -> list[Result]:
    summary: dict[str, Any] = json.loads((cell.directory / "summary.json").read_text())
    numbers = {name: value for name, value in summary.items() if type(value) in (int, float)}
    tasks = _FROZEN if cell.task == "evaluate" else (cell.task,)
    others = [f"{task}_" for task in _FROZEN]
    results = []
    for task in tasks:
        values = {
            name.removeprefix(f"{task}_"): value
            for name, value in numbers.items()
            if name.startswith(f"{task}_") or not name.startswith(tuple(others))
        }
        file = f"image_scores_{task}.csv" if cell.task == "evaluate" else "image_scores.csv"
        assert cell.label_fraction is not None
        results.append(
            Result(
                encoder=cell.encoder,
                task=task,
                label_fraction=cell.label_fraction,
                seed=cell.seed,
                values=values,
                directory=cell.directory,
                images=cell.directory / file,
            )
        )
    return results


def write_results_csv(file: Path, results: Sequence[Result]) -> None:
    """One row a result: encoder, task, label_fraction, seed, the name of the main score and its value, then every
    number of the summaries under its name; empty where a task does not have it."""
    columns = list(dict.fromkeys(name for result in results for name in result.values))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["encoder", "task", "label_fraction", "seed", "score_name", "score", *columns, "directory"]
    )
    for one in results:
        main = SCORES[one.task][0]
        numbers = [one.values.get(name, "") for name in (main, *columns)]
        key = [one.encoder, one.task, f"{one.label_fraction:g}", one.seed, main]
        writer.writerow([*key, *numbers, one.directory])
    write_whole(file, text.getvalue())


def shown_score(name: str) -> str:
    """The name of a score as people write it."""
    return name.replace("_", " ").replace("auc", "AUC")


def read_predictions(result: Result, scored: Sequence[str]) -> Diagnoses | Masks:
    """The predictions for each test image, by image id. scored: the classes whose AUCs are averaged; empty: all.

    Raises UserError for a file that is not there or not whole.
    """
    try:
        with result.images.open(newline="") as file:
            header, *rows = csv.reader(file)
        rows.sort()
        ids = tuple(row[0] for row in rows)
        if result.task == "segmentation":
            return _masks(header, rows, ids)
        classes = header[2:]
        labels = np.array([classes.index(row[1]) for row in rows], np.int64)
        probabilities = np.array([row[2:] for row in rows], np.float64)
        return Diagnoses(ids, labels, probabilities, tuple(classes.index(name) for name in scored or classes))
    except (OSError, ValueError, IndexError) as error:
        raise UserError(
            f"{result.images} cannot be read ({error}): delete {result.directory} to compute the cell anew"
        ) from error


def _masks(header: list[str], rows: list[list[str]], ids: tuple[str, ...]) -> Masks:
    columns = np.array([row[1:] for row in rows], np.float64).T
    values = dict(zip(header[1:], columns, strict=True))
    jaccard = values["jaccard"]
    values["thresholded_jaccard"] = np.where(jaccard >= JACCARD_THRESHOLD, jaccard, 0.0)
    return Masks(ids, {name: values[name] for name in SCORES["segmentation"]})
