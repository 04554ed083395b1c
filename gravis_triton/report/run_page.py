"""The page of one run: its scores, curves, images and settings; and that of several side by side."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, cycle
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from gravis_triton.comparison.bootstrap import ClassPredictions, MaskPredictions, Predictions, score_intervals
from gravis_triton.comparison.results import read_run_predictions
from gravis_triton.comparison.subgroups import FEWEST
from gravis_triton.files import read_metrics, reading
from gravis_triton.report.display import NOT_METRICS
from gravis_triton.report.figures import COLORS, class_label, styled
from gravis_triton.report.html import Picture, Section, Table, write_page
from gravis_triton.run_directory import RunDirectory
from gravis_triton.run_summary import (
    changed_from_defaults,
    job_of,
    method_settings,
    read_run,
    result_of,
    shown,
    shown_number,
)
from gravis_triton.settings.config import IRRELEVANT

Points = Sequence[tuple[int, float]]
Examples = Mapping[str, np.ndarray]
"""See `find_examples`."""

_NOT_LISTED = (*IRRELEVANT, "data", "model")  # the last are in the title
_MOST_POINTS = 500  # drawn per curve
_CASES = 8  # best and worst ones
_FIGURES = {"confusion.png": "Confusion matrix", "curves.png": "ROC and precision-recall curves, and calibration"}
_TITLES = {"knn": "Nearest neighbors", "probe": "Linear probe", "": "Test images"}
_CLASS_SCORES = {
    "auc": "AUC",
    "partial_auc": "AUC above sensitivity 0.8",
    "average_precision": "average precision",
    "recall": "recall",
    "sensitivity_at_specificity_95": "sensitivity at specificity 0.95",
    "specificity_at_sensitivity_89": "specificity at sensitivity 0.89",
}
_IMAGES = {
    "views.png": ("Images and their views", "Each row: an image, then its views as the encoder sees them."),
    "cases.png": ("Predictions", ""),
}


def write_run_page(run: RunDirectory) -> None:
    """Write report.html of a finished run. Raises UserError for a directory without one."""
    config, summary = read_run(run)
    sections = [
        *(_scores(run, name, tested, summary) for name, tested in read_run_predictions(run, summary).items()),
        *curve_sections({"": read_metrics(run.metrics)}),
        *_images(run),
        *_examples(run),
        Section("Settings", tables=_settings(config)),
        Section("Summary", tables=[_summary(summary)]),
    ]
    title = f"{config.get('model') or config.get('encoder')} on {Path(config['data']).name}: {job_of(config)}"
    write_page(run.report, title, result_of(summary), sections)


def _scores(run: RunDirectory, name: str, predictions: Predictions, summary: Mapping[str, Any]) -> Section:
    """Scores with intervals, per-class tables and figures of one set of predictions."""
    files = {run.predictions(kind, name): alt for kind, alt in _FIGURES.items()}
    pictures = [Picture.from_file(file, alt) for file, alt in files.items() if file.is_file()]
    own = scores_of(summary, name)
    tables = [score_table(predictions, own), *_by_subgroup(own.get("subgroups") or ())]
    if isinstance(predictions, ClassPredictions):
        classes = [score.removeprefix("auc_") for score in own if score.startswith("auc_")]
        tables += [_per_class(classes, own), _hardest(predictions, classes)]
    else:
        tables.append(_best_and_worst(predictions))
    return Section(_TITLES[name], tables=tables, pictures=pictures)


def scores_of(summary: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The part of a summary that is about the predictions of this name, without the name."""
    prefix = f"{name}_" if name else ""
    return {key.removeprefix(prefix): value for key, value in summary.items() if key.startswith(prefix)}


def score_table(predictions: Predictions, scores: Mapping[str, Any]) -> Table:
    """The main scores with 95% bootstrap intervals over the test images, or over their lesions and patients."""
    rows = [
        (shown(name), shown_number(scores.get(name, value)), f"{low:.3f} to {high:.3f}")
        for name, (value, low, high) in score_intervals(predictions).items()
    ]
    drawn = "lesions and patients" if any(predictions.groups) else "images"
    caption = f"Scores on {len(predictions.ids):,} test images"
    return Table(caption, ("score", "value", f"95% CI (bootstrap over {drawn})"), rows)


def _by_subgroup(subgroups: Sequence[Mapping[str, Any]]) -> list[Table]:
    """A table per column; a subgroup that is too small has no scores."""
    tables = []
    for column in dict.fromkeys(subgroup["column"] for subgroup in subgroups):
        members = [subgroup for subgroup in subgroups if subgroup["column"] == column]
        scores = list(dict.fromkeys(score for member in members for score in member["scores"]))
        header = [column, "images", *map(shown, scores), f"classes not scored (fewer than {FEWEST})"]
        rows = [
            [
                member["name"],
                f"{member['images']:,}",
                *(_with_interval(member["scores"].get(score)) for score in scores),
                ", ".join(map(class_label, member["left_out"])) or "none",
            ]
            for member in members
        ]
        columns = slice(None if any(member["left_out"] for member in members) else -1)
        cut = f" ({members[0]['cut']})" if members[0]["cut"] else ""
        caption = f"Scores by {column}{cut}, with 95% CI"
        tables.append(Table(caption, header[columns], [row[columns] for row in rows]))
    return tables


def _with_interval(score: Sequence[float | None] | None) -> str:
    if score is None:
        return "too few images"
    value, low, high = map(shown_number, score)
    return f"{value} ({low} to {high})"


def _per_class(classes: Sequence[str], scores: Mapping[str, Any]) -> Table:
    rows = [
        (class_label(name), *(shown_number(scores.get(f"{score}_{name}")) for score in _CLASS_SCORES))
        for name in classes
    ]
    alike = [class_label(name) for name in classes if scores.get(f"auc_{name}") is None]
    left_out = f"; left out of the means, as all or no test images are of them: {', '.join(alike)}" if alike else ""
    return Table(f"Per-class scores (one vs. rest){left_out}", ("class", *_CLASS_SCORES.values()), rows)


def _hardest(predictions: ClassPredictions, classes: Sequence[str]) -> Table:
    """The images with the lowest probability of the true class, or of the truth about any of several classes."""
    p, labels = predictions.probabilities, predictions.labels
    if labels.ndim == 1:
        of_truth = p[np.arange(len(p)), labels]
        truth, predicted = labels[:, None].tolist(), p.argmax(1)[:, None].tolist()
        header = ("image", "true class", "predicted class", "probability of the true class")
    else:
        of_truth = np.where(labels == 1, p, 1 - p).min(1)
        truth, predicted = ([np.flatnonzero(row).tolist() for row in rows] for rows in (labels, p > 0.5))
        header = ("image", "true classes", "predicted classes", "lowest probability of a correct decision")

    def named(indices: Iterable[int]) -> str:
        return ", ".join(class_label(classes[index]) for index in indices) or "none"

    rows = [
        (predictions.ids[index], named(truth[index]), named(predicted[index]), f"{of_truth[index]:.3f}")
        for index in np.argsort(of_truth, kind="stable")[:_CASES]
    ]
    return Table("Hardest images", header, rows)


def _best_and_worst(predictions: MaskPredictions) -> Table:
    jaccard = predictions.values["jaccard"]
    order = np.argsort(-jaccard, kind="stable")
    indices = [*order[:_CASES], *order[_CASES:][-_CASES:]]
    rows = [(predictions.ids[index], f"{jaccard[index]:.3f}") for index in indices]
    return Table("Best and worst images", ("image", "Jaccard index"), rows)


def curve_sections(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Section]:
    """All metrics over training steps, in small figures, to stay readable on a narrow screen; none of a single point.

    runs: name of a run -> its lines of metrics.jsonl. For a single run, named "", metrics that share their first word
    (knn_..., similarity/...) share a figure.
    """
    training_first = sorted(chain(*runs.values()), key=lambda line: "loss" not in line)
    names = list(dict.fromkeys(name for line in training_first for name in line if name not in NOT_METRICS))
    words = Counter(_first_word(name) for name in names)
    panels: dict[str, dict[str, Points]] = defaultdict(dict)
    for name in names:
        panel = _first_word(name) if "" in runs and words[_first_word(name)] > 1 else name
        for run, lines in runs.items():
            points = [(line["step"], line[name]) for line in lines if line.get(name) is not None]
            if any(value for _, value in points):
                panels[panel][run or name[len(panel) :].strip("/_") or name] = points
    drawn = {panel: curves for panel, curves in panels.items() if max(map(len, curves.values())) > 1}
    pictures = [_draw_curves(panel, curves) for panel, curves in drawn.items()]
    return [Section("Training", pictures=pictures)] if pictures else []


def _first_word(metric: str) -> str:
    return re.split("[/_]", metric)[0]


@styled
def _draw_curves(title: str, curves: Mapping[str, Points]) -> Picture:
    figure = Figure(figsize=(3.4, 2.5))
    figure.set_layout_engine("none")  # several times as fast as the constrained layout
    axes = figure.add_axes((0.2, 0.18, 0.74, 0.7))
    for name, points in curves.items():
        x, y = zip(*points[:: max(1, len(points) // _MOST_POINTS)], strict=True)
        axes.plot(x, y, label=shown(name), marker="o" if len(x) < 20 else None)
    axes.set(title=shown(title), xlabel="step")
    if len(curves) > 1:
        axes.legend()
    return Picture.from_figure(figure, f"{shown(title)} over training steps: {', '.join(map(shown, curves))}")


def _images(run: RunDirectory) -> list[Section]:
    return [
        Section(title, pictures=[Picture.from_file(run.path / file, title, caption)])
        for file, (title, caption) in _IMAGES.items()
        if (run.path / file).is_file()
    ]


def _examples(run: RunDirectory) -> list[Section]:
    """Similarity and attention of views, nearest neighbors and a map, if the run has saved them."""
    if not run.examples.is_file():
        return []
    with reading(run.examples), np.load(run.examples, allow_pickle=False) as content:
        examples = dict(content)
    classes = [class_label(name) for name in examples["classes"]]
    thumbnails = [
        Picture.from_pixels(pixels, f"{name}, {classes[label]}")
        for pixels, name, label in zip(examples["thumbnails"], examples["ids"], examples["labels"], strict=True)
    ]
    kinds = {"similarity": _heat_maps, "neighbors": _neighbors, "map": _map}
    return [section(examples, thumbnails) for name, section in kinds.items() if len(examples[name])]


@styled
def _heat_maps(examples: Examples, thumbnails: Sequence[Picture]) -> Section:
    count = len(examples["similarity"])
    width = 2.3 * count + 0.8
    figure = Figure(figsize=(width, 4.6))
    figure.set_layout_engine("none")
    margins = {"left": 0.3 / width, "right": 1 - 0.4 / width, "bottom": 0.02, "top": 0.98}
    panels = figure.subplots(2, count, squeeze=False, gridspec_kw={"wspace": 0.05, "hspace": 0.05, **margins})
    for axes_row, (name, low) in zip(panels, (("similarity", -1.0), ("attention", 0.0)), strict=True):
        for axes, matrix in zip(axes_row, examples[name], strict=True):
            image = axes.imshow(matrix, vmin=low, vmax=1.0)
            axes.set(xticks=[], yticks=[])
        axes_row[0].set_ylabel(name)
        figure.colorbar(image, ax=list(axes_row), shrink=0.8)
    picture = Picture.from_figure(
        figure,
        f"Similarity and attention between the views of {count} images",
        "One image per column. Top: cosine similarity between its views. Bottom: attention of the view in the row to "
        "the others.",
    )
    return Section("Views of one image", pictures=[picture])


def _neighbors(examples: Examples, thumbnails: Sequence[Picture]) -> Section:
    marks, labels = ("wrong", "right"), examples["labels"]
    rows = [
        [(thumbnails[query], ""), *((thumbnails[i], marks[int(labels[i] == labels[query])]) for i in nearest)]
        for query, nearest in enumerate(examples["neighbors"])
    ]
    text = (
        "Each row: a validation image, then the training images with the most similar features. "
        "Solid frame: same class; dashed frame: different class."
    )
    return Section("Nearest neighbors", text=text, thumbnails=rows)


def _map(examples: Examples, thumbnails: Sequence[Picture]) -> Section:
    places = examples["map"]
    percent = 3 + 94 * (places - places.min(0)) / np.maximum(np.ptp(places, axis=0), 1e-9)
    dots = [
        (float(left), float(top), COLORS[label % len(COLORS)], thumbnail)
        for (left, top), label, thumbnail in zip(percent, examples["labels"], thumbnails, strict=False)
    ]  # neighbors, the last thumbnails, have no place
    legend = [(class_label(name), color) for name, color in zip(examples["classes"], cycle(COLORS), strict=False)]
    text = "t-SNE of the features; hover over a dot to see its image."
    return Section("t-SNE of the validation images", text, dots=dots, legend=legend)


def _settings(config: Mapping[str, Any]) -> list[Table]:
    changed = {name: pair for name, pair in changed_from_defaults(config).items() if name not in _NOT_LISTED}
    rows = [(name, str(value), "" if default is None else str(default)) for name, (value, default) in changed.items()]
    tables = [Table("Settings that differ from the defaults", ("setting", "value", "default"), rows)]
    if own := method_settings(config):
        tables.append(Table("Settings of the method", ("setting", "value"), [(name, str(own[name])) for name in own]))
    return tables


def _summary(summary: Mapping[str, Any]) -> Table:
    numbers = {shown(name): shown_number(v) for name, v in summary.items() if not isinstance(v, dict | list)}
    return Table("summary.json", ("name", "value"), [*numbers.items(), *summary.get("versions", {}).items()])


def write_runs_page(runs: Sequence[RunDirectory], file: Path) -> None:
    """Write a page of finished runs side by side. Raises UserError for a directory without a finished run."""
    configs, summaries = zip(*map(read_run, runs), strict=True)
    names = _names(runs)
    named = dict(zip(names, runs, strict=True))
    results = list(zip(names, map(str, map(job_of, configs)), map(result_of, summaries), strict=True))
    keys = [key for key in dict.fromkeys(chain(*configs)) if key not in ("job", *IRRELEVANT)]
    settings = [(key, *(str(config.get(key, "")) for config in configs)) for key in keys]
    differing = [(key, *values) for key, *values in settings if len(set(values)) > 1]
    sections = [
        Section("Results", tables=[Table("Results", ("run", "job", "result"), results)]),
        Section("Settings", tables=[Table("Settings that differ", ("setting", *names), differing)]),
        *curve_sections({name: read_metrics(run.metrics) for name, run in named.items()}),
    ]
    links = [(name, run.report.resolve().as_uri()) for name, run in named.items() if run.report.is_file()]
    write_page(file, "Runs side by side", ", ".join(names), sections, links=links)


def _names(runs: Sequence[RunDirectory]) -> list[str]:
    """The last parts of the runs' paths if these are unique, else the paths relative to their common parent."""
    names = [run.path.name for run in runs]
    if len(set(names)) == len(names):
        return names
    common = os.path.commonpath([run.path.absolute() for run in runs])
    return [os.path.relpath(run.path, common) for run in runs]
