"""Scores of finished runs: means over seeds, and differences from the baseline with confidence intervals."""

import csv
import io
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gravis_triton.comparison.bootstrap import (
    LEVEL,
    RESAMPLES,
    ClassPredictions,
    Floats,
    Interval,
    Ints,
    MaskPredictions,
    paired_interval,
    resampled_scores,
    score_intervals,
)
from gravis_triton.errors import UserError
from gravis_triton.evaluation import JACCARD_THRESHOLD
from gravis_triton.files import atomic_write, read_json, write_json
from gravis_triton.run_directory import RunDirectory

if TYPE_CHECKING:  # the grid knows all jobs and thereby torch
    from gravis_triton.comparison.grid import PlannedRun

Curves = Mapping[str, Mapping[int, str]]

SCORES = {
    "knn": ("mean_auc", "balanced_accuracy", "mean_partial_auc"),
    "probe": ("mean_auc", "balanced_accuracy", "mean_partial_auc"),
    "classification": ("mean_auc", "balanced_accuracy", "mean_partial_auc"),
    "segmentation": ("jaccard", "thresholded_jaccard", "dice"),
}
"""Reported task -> its scores, the main one first."""
_FROZEN = ("knn", "probe")  # what the task `evaluate` is reported as


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The scores of one run on one task.

    values: all numbers of its summary. predictions: the CSV file of its scores or probabilities per test image.
    """

    encoder: str
    task: str
    label_fraction: float
    seed: int
    values: dict[str, float]
    directory: Path
    predictions: Path


@dataclass(frozen=True, slots=True)
class RunScores:
    """The main scores of a finished run on its test images, and the predictions that they are from.

    name: knn, probe, or empty. intervals: score -> its value in the summary, and the bounds of its 95% bootstrap
    interval over the test images, or over their lesions and patients.
    """

    name: str
    intervals: dict[str, tuple[float | None, float, float]]
    predictions: ClassPredictions | MaskPredictions


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One score of one encoder on one task with one label fraction.

    values: seed -> score. spread: standard deviation over the seeds (n - 1), None for one seed. against_baseline: None
    for the baseline itself and if no seed has both.
    """

    task: str
    label_fraction: float
    encoder: str
    score: str
    values: dict[int, float]
    mean: float
    spread: float | None
    against_baseline: Interval | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """entries: for every task, label fraction, encoder and score, in grid order. curves: as in `Grid`."""

    baseline: str
    entries: tuple[Entry, ...]
    curves: Curves = field(default_factory=dict)

    def of(self, task: str, score: str) -> list[Entry]:
        return [entry for entry in self.entries if (entry.task, entry.score) == (task, score)]

    @property
    def tasks(self) -> list[str]:
        known = {entry.task for entry in self.entries}
        return [task for task in SCORES if task in known]


@dataclass(frozen=True, slots=True)
class _Tested:
    """A result with its test images (ids and labels) and its bootstrap scores, name -> (resamples,)."""

    result: Result
    ids: tuple[str, ...]
    labels: bytes
    resampled: dict[str, Floats]


def read_results(runs: Iterable["PlannedRun"]) -> list[Result]:
    """The results of all finished runs; pre-training has none."""
    return [result for run in runs if run.finished and run.label_fraction is not None for result in _read(run)]


def _read(run: "PlannedRun") -> Iterable[Result]:
    assert run.label_fraction is not None
    summary = read_json(run.directory.summary)
    numbers = {name: value for name, value in summary.items() if type(value) in (int, float)}
    frozen = run.task == "evaluate"
    for task in _FROZEN if frozen else (run.task,):
        others = tuple(f"{name}_" for name in _FROZEN if name != task)
        yield Result(
            encoder=run.encoder,
            task=task,
            label_fraction=run.label_fraction,
            seed=run.seed,
            values={
                name.removeprefix(f"{task}_"): number for name, number in numbers.items() if not name.startswith(others)
            },
            directory=run.directory.path,
            predictions=run.directory.predictions("image_scores.csv", task if frozen else ""),
        )


def read_predictions(file: Path, scored: Sequence[str]) -> ClassPredictions | MaskPredictions:
    """The predictions for each test image, by image id. scored: the classes whose AUCs are averaged, all if empty.

    Raises UserError if the file is missing or incomplete.
    """
    try:
        with file.open(newline="") as opened:
            header, *rows = csv.reader(opened)
        rows.sort()
        first = 2 if header[1] == "group" else 1  # column of values
        ids = tuple(row[0] for row in rows)
        groups = tuple(row[1] if first == 2 else "" for row in rows)
        header, rows = header[first:], [row[first:] for row in rows]
        if header[0] not in ("label", "labels"):
            return _masks(header, rows, ids, groups)
        classes = header[1:]
        labels = _ones(classes, rows) if header[0] == "labels" else np.array([classes.index(row[0]) for row in rows])
        probabilities = np.array([row[1:] for row in rows], np.float64)
        averaged = tuple(classes.index(name) for name in scored or classes)
        return ClassPredictions(ids, groups, labels, probabilities, averaged)
    except (OSError, ValueError, IndexError) as error:
        raise UserError(f"{file} cannot be read ({error}): delete {file.parent} to repeat the run") from error


def _ones(classes: list[str], rows: list[list[str]]) -> Ints:
    """0 and 1 (images, classes) from the names of their classes, between bars."""
    labels = np.zeros((len(rows), len(classes)), np.int64)
    for row, cells in enumerate(rows):
        labels[row, [classes.index(name) for name in cells[0].split("|") if name]] = 1
    return labels


def _masks(header: list[str], rows: list[list[str]], ids: tuple[str, ...], groups: tuple[str, ...]) -> MaskPredictions:
    values = dict(zip(header, np.array(rows, np.float64).T, strict=True))
    jaccard = values["jaccard"]
    values["thresholded_jaccard"] = np.where(jaccard >= JACCARD_THRESHOLD, jaccard, 0.0)
    return MaskPredictions(ids, groups, {name: values[name] for name in SCORES["segmentation"]})


def read_run_scores(run: RunDirectory, summary: Mapping[str, Any]) -> list[RunScores]:
    """The scores of every set of predictions in the directory of a run; empty for a pre-training run."""
    scores = []
    for name in ("", *_FROZEN):
        file = run.predictions("image_scores.csv", name)
        if not file.is_file():
            continue
        predictions = read_predictions(file, summary.get("scored_classes") or ())
        prefix = f"{name}_" if name else ""
        intervals: dict[str, tuple[float | None, float, float]] = {
            score: (summary.get(prefix + score, value), low, high)
            for score, (value, low, high) in score_intervals(predictions).items()
        }
        scores.append(RunScores(name, intervals, predictions))
    return scores


def compare(
    results: Sequence[Result], *, baseline: str, scored: Sequence[str], curves: Curves | None = None
) -> Comparison:
    """Means and spreads over seeds, and differences from the encoder `baseline`; if it was pre-trained with several
    numbers of views, from the one with the same number.

    A difference is over the same task, label fraction and seeds; its interval is that of `paired_interval` over the
    test images' predictions. scored: the classes whose AUCs are averaged, all if empty.
    Raises UserError if two encoders were tested on different images, or predictions are missing.
    """
    curves = curves or {}
    groups: dict[tuple[str, float], dict[str, dict[int, _Tested]]] = defaultdict(lambda: defaultdict(dict))
    for result in results:
        groups[result.task, result.label_fraction][result.encoder][result.seed] = _read_tested(result, scored)
    entries: list[Entry] = []
    for (task, _), encoders in groups.items():
        for name, seeds in encoders.items():
            base = _baseline_of(name, baseline, curves)
            base_seeds = encoders.get(base, {}) if base != name else {}
            entries += [_entry(seeds, score, _against(seeds, base_seeds, score)) for score in SCORES[task]]
    return Comparison(baseline, tuple(entries), curves)


def _read_tested(result: Result, scored: Sequence[str]) -> _Tested:
    predictions = read_predictions(result.predictions, scored)
    return _Tested(result, predictions.ids, predictions.strata.tobytes(), resampled_scores(predictions))


def _baseline_of(encoder: str, baseline: str, curves: Curves) -> str:
    """The encoder to compare with: the baseline; if it is a curve, the one with as many views, else with the most."""
    if baseline not in curves:
        return baseline
    views = [views for curve in curves.values() for views, name in curve.items() if name == encoder]
    return curves[baseline].get(views[0] if views else max(curves[baseline]), "")


def _entry(seeds: Mapping[int, _Tested], score: str, against: Interval | None) -> Entry:
    first = next(iter(seeds.values())).result
    values = {seed: tested.result.values.get(score, math.nan) for seed, tested in seeds.items()}
    numbers = list(values.values())
    return Entry(
        task=first.task,
        label_fraction=first.label_fraction,
        encoder=first.encoder,
        score=score,
        values=values,
        mean=float(np.mean(numbers)),
        spread=float(np.std(numbers, ddof=1)) if len(numbers) > 1 else None,
        against_baseline=against,
    )


def _against(seeds: Mapping[int, _Tested], base: Mapping[int, _Tested], score: str) -> Interval | None:
    """The interval of the differences from the baseline, seed by seed; None if they share no seed."""
    pairs = [(seeds[seed], base[seed]) for seed in seeds if seed in base]
    if not pairs:
        return None
    for own, other in pairs:
        if (own.ids, own.labels) != (other.ids, other.labels):
            raise UserError(
                f"{own.result.predictions} and {other.result.predictions} have different test images: "
                "delete the older run"
            )
    observed = [a.result.values.get(score, math.nan) - b.result.values.get(score, math.nan) for a, b in pairs]
    differences = [a.resampled[score] - b.resampled[score] for a, b in pairs]
    return paired_interval(observed, differences, same_images=len({own.ids for own, _ in pairs}) == 1)


def write_comparison(file: Path, comparison: Comparison) -> None:
    """Write comparison.json: every entry, with the scores of all seeds."""
    content = {"baseline": comparison.baseline, "level": LEVEL, "resamples": RESAMPLES}
    write_json(file, {**content, "entries": [asdict(entry) for entry in comparison.entries]})


def write_results_csv(file: Path, results: Sequence[Result]) -> None:
    """One row per result: encoder, task, label_fraction, seed, the name of the main score and its value, then every
    number of the summaries under its name; empty if a task does not have it."""
    columns = list(dict.fromkeys(name for result in results for name in result.values))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["encoder", "task", "label_fraction", "seed", "score_name", "score", *columns, "directory"])
    for result in results:
        main = SCORES[result.task][0]
        numbers = [result.values.get(name, "") for name in (main, *columns)]
        key = [result.encoder, result.task, f"{result.label_fraction:g}", result.seed, main]
        writer.writerow([*key, *numbers, result.directory])
    atomic_write(file, text.getvalue())
