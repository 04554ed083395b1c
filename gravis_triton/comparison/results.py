"""Results of finished runs: scores from summary.json, per-image predictions from CSV files."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gravis_triton.comparison.bootstrap import ClassPredictions, MaskPredictions
from gravis_triton.comparison.plan import PlannedRun
from gravis_triton.errors import UserError
from gravis_triton.evaluation.segmentation import JACCARD_THRESHOLD
from gravis_triton.files import atomic_write, read_json

SCORES = {
    "knn": ("mean_auc", "balanced_accuracy"),
    "probe": ("mean_auc", "balanced_accuracy"),
    "classification": ("mean_auc", "balanced_accuracy"),
    "segmentation": ("jaccard", "thresholded_jaccard", "dice"),
}
"""Reported task -> its scores, the main one first."""
_FROZEN = ("knn", "probe")  # what the task `evaluate` is reported as


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The scores of one run on one task.

    values: all numbers of its summary. images: the CSV file of its per-image predictions.
    """

    encoder: str
    task: str
    label_fraction: float
    seed: int
    values: dict[str, float]
    directory: Path
    images: Path


def read_results(runs: Iterable[PlannedRun]) -> list[Result]:
    """The results of all finished runs; pre-training has none."""
    return [
        result for run in runs if run.finished and run.label_fraction is not None for result in _read(run)
    ]


def _read(run: PlannedRun) -> list[Result]:
    summary = read_json(run.directory.summary)
    numbers = {name: value for name, value in summary.items() if type(value) in (int, float)}
    tasks = _FROZEN if run.task == "evaluate" else (run.task,)
    others = [f"{task}_" for task in _FROZEN]
    results = []
    for task in tasks:
        values = {
            name.removeprefix(f"{task}_"): value
            for name, value in numbers.items()
            if name.startswith(f"{task}_") or not name.startswith(tuple(others))
        }
        assert run.label_fraction is not None
        results.append(
            Result(
                encoder=run.encoder,
                task=task,
                label_fraction=run.label_fraction,
                seed=run.seed,
                values=values,
                directory=run.directory.path,
                images=run.directory.predictions("image_scores.csv", task if run.task == "evaluate" else ""),
            )
        )
    return results


def write_results_csv(file: Path, results: Sequence[Result]) -> None:
    """One row per result: encoder, task, label_fraction, seed, the name of the main score and its value, then every
    number of the summaries under its name; empty if a task does not have it."""
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
    atomic_write(file, text.getvalue())


def read_predictions(result: Result, scored: Sequence[str]) -> ClassPredictions | MaskPredictions:
    """The predictions for each test image, by image id. scored: the classes whose AUCs are averaged, all if empty.

    Raises UserError if the file is missing or incomplete.
    """
    try:
        with result.images.open(newline="") as file:
            header, *rows = csv.reader(file)
        rows.sort()
        ids = tuple(row[0] for row in rows)
        grouped = header[1] == "group"
        groups = tuple(row[1] if grouped else "" for row in rows)
        header, rows = header[1 + grouped :], [row[1 + grouped :] for row in rows]
        if result.task == "segmentation":
            return _masks(header, rows, ids, groups)
        classes = header[1:]
        labels = np.array([classes.index(row[0]) for row in rows], np.int64)
        probabilities = np.array([row[1:] for row in rows], np.float64)
        averaged = tuple(classes.index(name) for name in scored or classes)
        return ClassPredictions(ids, groups, labels, probabilities, averaged)
    except (OSError, ValueError, IndexError) as error:
        raise UserError(
            f"{result.images} cannot be read ({error}): delete {result.directory} to repeat the run"
        ) from error


def _masks(
    header: list[str], rows: list[list[str]], ids: tuple[str, ...], groups: tuple[str, ...]
) -> MaskPredictions:
    values = dict(zip(header, np.array(rows, np.float64).T, strict=True))
    jaccard = values["jaccard"]
    values["thresholded_jaccard"] = np.where(jaccard >= JACCARD_THRESHOLD, jaccard, 0.0)
    return MaskPredictions(ids, groups, {name: values[name] for name in SCORES["segmentation"]})
