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

from gravis_triton.comparison import bootstrap
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
    against_baseline: bootstrap.Interval | None


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
    """The scores of a run, its test images (their ids and strata), and its bootstrap scores, name -> (resamples,)."""

    result: Result
    ids: tuple[str, ...]
    strata: bytes
    resampled: dict[str, bootstrap.Floats]

    def value(self, score: str) -> float:
        return self.result.values.get(score, math.nan)


def read_results(runs: Iterable["PlannedRun"]) -> list[Result]:
    """The results of all finished runs; pre-training has none."""
    return [result for run in runs if run.finished and run.label_fraction is not None for result in _read(run)]


def _read(run: "PlannedRun") -> Iterable[Result]:
    assert run.label_fraction is not None
    summary = read_json(run.directory.summary)
    frozen = run.task == "evaluate"
    for task in _FROZEN if frozen else (run.task,):
        others = tuple(f"{name}_" for name in _FROZEN if name != task)
        yield Result(
            encoder=run.encoder,
            task=task,
            label_fraction=run.label_fraction,
            seed=run.seed,
            values={
                name.removeprefix(f"{task}_"): value
                for name, value in summary.items()
                if type(value) in (int, float) and not name.startswith(others)
            },
            directory=run.directory.path,
            predictions=run.directory.predictions("image_scores.csv", task if frozen else ""),
        )


def read_predictions(file: Path, scored: Sequence[str]) -> bootstrap.Predictions:
    """The predictions for each test image, by image id. scored: the classes whose AUCs are averaged, all if empty.

    Raises UserError if the file is missing or incomplete.
    """
    try:
        with file.open(newline="", encoding="utf-8") as opened:
            header, *rows = csv.reader(opened)
        if header[1] != "group":
            header, *rows = ([row[0], "", *row[1:]] for row in (header, *rows))
        ids, groups, *columns = zip(*sorted(rows), strict=True)
        kind, *classes = header[2:]
        if kind not in ("label", "labels"):
            values = dict(zip(header[2:], np.array(columns, np.float64), strict=True))
            values["thresholded_jaccard"] = np.where(values["jaccard"] >= JACCARD_THRESHOLD, values["jaccard"], 0.0)
            return bootstrap.MaskPredictions(ids, groups, {name: values[name] for name in SCORES["segmentation"]})
        labels = (
            np.array([classes.index(name) for name in columns[0]]) if kind == "label" else _ones(classes, columns[0])
        )
        probabilities = np.array(columns[1:], np.float64).T.copy()
        averaged = tuple(map(classes.index, scored or classes))
        return bootstrap.ClassPredictions(ids, groups, labels, probabilities, averaged)
    except (OSError, ValueError, IndexError, KeyError) as error:
        raise UserError(f"{file} cannot be read ({error}): delete {file.parent} to repeat the run") from error


def _ones(classes: Sequence[str], cells: Sequence[str]) -> bootstrap.Ints:
    """0 and 1 (images, classes) from the names of their classes, between bars."""
    labels = np.zeros((len(cells), len(classes)), np.int64)
    for row, cell in enumerate(cells):
        labels[row, [classes.index(name) for name in cell.split("|") if name]] = 1
    return labels


def read_run_predictions(run: RunDirectory, summary: Mapping[str, Any]) -> dict[str, bootstrap.Predictions]:
    """The predictions in the directory of a run by what made them: knn and probe, or "" for a fine-tuned network; none
    for a pre-training run."""
    files = {name: run.predictions("image_scores.csv", name) for name in ("", *_FROZEN)}
    scored = summary.get("scored_classes") or ()
    return {name: read_predictions(file, scored) for name, file in files.items() if file.is_file()}


def compare(
    results: Sequence[Result], *, baseline: str, scored: Sequence[str], curves: Curves | None = None
) -> Comparison:
    """Compare every encoder with the baseline; with that of the same number of views, if the baseline is a curve.

    A difference is over the same task, label fraction and seeds; its interval is that of `paired_interval` over the
    test images' predictions. scored: the classes whose AUCs are averaged, all if empty.
    Raises UserError if two encoders were tested on different images, or predictions are missing.
    """
    curves = curves or {}
    groups: dict[tuple[str, float], dict[str, dict[int, _Tested]]] = defaultdict(lambda: defaultdict(dict))
    for result in results:
        read = read_predictions(result.predictions, scored)
        tested = _Tested(result, read.ids, read.strata.tobytes(), bootstrap.resampled_scores(read))
        groups[result.task, result.label_fraction][result.encoder][result.seed] = tested
    entries = []
    for (task, fraction), encoders in groups.items():
        for name, seeds in encoders.items():
            base = encoders.get(_baseline_of(name, baseline, curves), {})
            for score in SCORES[task]:
                values = {seed: tested.value(score) for seed, tested in seeds.items()}
                entries.append(
                    Entry(
                        task=task,
                        label_fraction=fraction,
                        encoder=name,
                        score=score,
                        values=values,
                        mean=float(np.mean(list(values.values()))),
                        spread=float(np.std(list(values.values()), ddof=1)) if len(values) > 1 else None,
                        against_baseline=None if base is seeds else _against(seeds, base, score),
                    )
                )
    return Comparison(baseline, tuple(entries), curves)


def _baseline_of(encoder: str, baseline: str, curves: Curves) -> str:
    """The encoder to compare with: the baseline; if it is a curve, the one with as many views, else with the most."""
    if baseline not in curves:
        return baseline
    views = [views for curve in curves.values() for views, name in curve.items() if name == encoder]
    return curves[baseline].get(views[0] if views else max(curves[baseline]), "")


def _against(seeds: Mapping[int, _Tested], base: Mapping[int, _Tested], score: str) -> bootstrap.Interval | None:
    """The interval of the differences from the baseline, seed by seed; None if they share no seed."""
    pairs = [(tested, base[seed]) for seed, tested in seeds.items() if seed in base]
    for own, other in pairs:
        if (own.ids, own.strata) != (other.ids, other.strata):
            raise UserError(
                f"{own.result.predictions} and {other.result.predictions} have different test images: "
                "delete the older run"
            )
    if not pairs:
        return None
    return bootstrap.paired_interval(
        [own.value(score) - other.value(score) for own, other in pairs],
        [own.resampled[score] - other.resampled[score] for own, other in pairs],
        same_images=len({own.ids for own, _ in pairs}) == 1,
    )


def write_comparison(file: Path, comparison: Comparison) -> None:
    """Write comparison.json: every entry, with the scores of all seeds."""
    content = {"baseline": comparison.baseline, "level": bootstrap.LEVEL, "resamples": bootstrap.RESAMPLES}
    write_json(file, {**content, "entries": [asdict(entry) for entry in comparison.entries]})


def write_results_csv(file: Path, results: Sequence[Result]) -> None:
    """One row per result: encoder, task, label_fraction, seed, the name of the main score and its value, then every
    number of the summaries under its name; empty if a task does not have it."""
    columns = dict.fromkeys(name for result in results for name in result.values)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["encoder", "task", "label_fraction", "seed", "score_name", "score", *columns, "directory"])
    for result in results:
        main = SCORES[result.task][0]
        key = [result.encoder, result.task, f"{result.label_fraction:g}", result.seed, main]
        writer.writerow([*key, *(result.values.get(name, "") for name in (main, *columns)), result.directory])
    atomic_write(file, text.getvalue())
