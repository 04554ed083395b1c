"""The page of one run, from the files in its directory."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import precision_recall_curve

from gravis_triton.comparison.bootstrap import ClassPredictions, MaskPredictions, resampled_scores
from gravis_triton.comparison.results import SCORES, read_predictions
from gravis_triton.files import read_metrics
from gravis_triton.report.figures import COLORS, shown_name
from gravis_triton.report.page.curves import curve_pictures, metric_points
from gravis_triton.report.page.examples import example_sections
from gravis_triton.report.page.html import Page, Picture, Section, Table, new_page_figure, styled, write_page
from gravis_triton.run_directory import RunDirectory
from gravis_triton.run_summary import kind_of, read_run, result_of, shown, shown_number
from gravis_triton.settings import (
    ClassificationSettings,
    EvaluateSettings,
    PretrainSettings,
    SegmentationSettings,
    flatten,
)

_CURVES = {
    "loss": ("loss",),
    "learning rate": ("lr",),
    "cosine similarity": ("similarity/positives", "similarity/negatives"),
    "active triplets": ("active_triplets",),
    "attention entropy": ("attention_entropy",),
    "kNN (validation)": ("knn_mean_auc", "knn_balanced_accuracy"),
    "validation": ("validation_mean_auc", "validation_balanced_accuracy", "validation_jaccard"),
}
_KINDS: Mapping[str, type[Any]] = {
    "pre-training": PretrainSettings,
    "classification": ClassificationSettings,
    "segmentation": SegmentationSettings,
    "evaluation": EvaluateSettings,
}
_NOT_OF_THE_METHOD = {
    "output_dir",
    "overwrite",
    "config",
    "resume",
    "cache_dir",
    "num_workers",
    "data",
    "model",
}
_CASES_SHOWN = {
    "segmentation": (
        "Predicted masks",
        "Best, median and worst test images; white: true mask, yellow: predicted mask.",
    ),
    "classification": ("Predicted classes", "Test images with the most confident predictions."),
}
_CASES = 8  # best and worst ones


def write_run_page(run: RunDirectory) -> Path:
    """Write report.html of a finished run and return its path. Raises UserError for a directory without one."""
    config, summary = read_run(run)
    kind = kind_of(config)
    page = Page(
        title=f"{config.get('model') or config.get('encoder')} on {Path(config['data']).name}: {kind}",
        lead=result_of(summary),
        sections=[
            *_scores(run, summary),
            *_curves(run),
            *_pictures(run, kind),
            *example_sections(run),
            _settings(config, kind),
            _numbers(summary),
        ],
    )
    write_page(page, run.report)
    return run.report


@dataclass(frozen=True, slots=True)
class TestPredictions:
    """Predictions of a run for its test images. name: knn, probe, or empty; task: as in `comparison.SCORES`."""

    name: str
    task: str
    file: Path
    predictions: ClassPredictions | MaskPredictions

    @property
    def title(self) -> str:
        return {"knn": "Nearest neighbors", "probe": "Linear probe"}.get(self.name, "Test images")

    @property
    def prefix(self) -> str:
        """Prefix of its scores in the summary."""
        return f"{self.name}_" if self.name else ""


def read_test_predictions(run: RunDirectory, summary: Mapping[str, Any]) -> list[TestPredictions]:
    """All test predictions in the directory of a run; empty for a pre-training run."""
    found = []
    for name in ("", "knn", "probe"):
        file = run.predictions("image_scores.csv", name)
        if not file.is_file():
            continue
        with file.open(newline="") as opened:
            task = name or ("segmentation" if "jaccard" in next(csv.reader(opened)) else "classification")
        predictions = read_predictions(file, summary.get("scored_classes") or ())
        found.append(TestPredictions(name, task, file, predictions))
    return found


def _scores(run: RunDirectory, summary: Mapping[str, Any]) -> list[Section]:
    """Scores with intervals, per-class tables and figures of every set of predictions in the directory."""
    sections = []
    for one in read_test_predictions(run, summary):
        tables = [score_table(one, summary)]
        pictures = [
            Picture.of_file(picture, alt)
            for picture, alt in (
                (run.predictions("confusion.png", one.name), "Confusion matrix"),
                (run.predictions("curves.png", one.name), "ROC curves and calibration"),
            )
            if picture.is_file()
        ]
        if isinstance(one.predictions, ClassPredictions):
            classes = _class_names(one.file)
            tables += [_per_class(classes, summary, one.prefix), _hardest(one.predictions, classes)]
            pictures.append(_precision_recall(one.predictions, classes))
        else:
            tables.append(_best_and_worst(one.predictions))
        sections.append(Section(one.title, tables=tables, pictures=pictures))
    return sections


def _class_names(file: Path) -> list[str]:
    with file.open(newline="") as opened:
        header = next(csv.reader(opened))
        return header[header.index("label") + 1 :]


def score_table(one: TestPredictions, summary: Mapping[str, Any]) -> Table:
    """The main scores with 95% bootstrap intervals over the test images, or over their lesions and patients."""
    resampled = resampled_scores(one.predictions)
    rows = []
    for name in SCORES[one.task]:
        low, high = np.percentile(resampled[name], [2.5, 97.5])
        rows.append((shown(name), shown_number(summary.get(one.prefix + name)), f"{low:.3f} to {high:.3f}"))
    caption = f"Scores on {len(one.predictions.ids):,} test images"
    drawn = "lesions and patients" if any(one.predictions.groups) else "images"
    return Table(caption, ("score", "value", f"95% CI (bootstrap over {drawn})"), rows)


def _per_class(classes: Sequence[str], summary: Mapping[str, Any], prefix: str) -> Table:
    names = (
        "auc",
        "average_precision",
        "recall",
        "sensitivity_at_specificity_95",
        "specificity_at_sensitivity_89",
    )
    rows = [
        (shown_name(one), *(shown_number(summary.get(f"{prefix}{name}_{one}")) for name in names))
        for one in classes
    ]
    header = ("class", "AUC", "average precision", "recall", "sensitivity at specificity 0.95")
    return Table("Per-class scores (one vs. rest)", (*header, "specificity at sensitivity 0.89"), rows)


def _hardest(predictions: ClassPredictions, classes: Sequence[str]) -> Table:
    """The images with the lowest probability of the true class."""
    of_truth = predictions.probabilities[np.arange(len(predictions.labels)), predictions.labels]
    rows = [
        (
            predictions.ids[index],
            shown_name(classes[predictions.labels[index]]),
            shown_name(classes[int(predictions.probabilities[index].argmax())]),
            f"{of_truth[index]:.3f}",
        )
        for index in np.argsort(of_truth, kind="stable")[:_CASES]
    ]
    return Table(
        "Hardest images", ("image", "true class", "predicted class", "probability of the true class"), rows
    )


def _best_and_worst(predictions: MaskPredictions) -> Table:
    jaccard = predictions.values["jaccard"]
    order = np.argsort(-jaccard, kind="stable")
    shown = [*order[:_CASES], *order[_CASES:][-_CASES:]]
    rows = [(predictions.ids[index], f"{jaccard[index]:.3f}") for index in shown]
    return Table("Best and worst images", ("image", "Jaccard index"), rows)


def _precision_recall(predictions: ClassPredictions, classes: Sequence[str]) -> Picture:
    with styled():
        figure = new_page_figure(4.6, 3.6)
        axes = figure.subplots()
        for index, name in enumerate(classes):
            positive = predictions.labels == index
            if 0 < positive.sum() < len(positive):
                precision, recall, _ = precision_recall_curve(positive, predictions.probabilities[:, index])
                axes.plot(recall, precision, color=COLORS[index % len(COLORS)], label=shown_name(name))
        axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
        axes.legend()
        return Picture.of_figure(figure, "Precision-recall curve of each class")


def _curves(run: RunDirectory) -> list[Section]:
    """All metrics over training steps."""
    lines = read_metrics(run.metrics)
    panels = {
        title: {shown(name): metric_points(lines, name) for name in names} for title, names in _CURVES.items()
    }
    pictures = curve_pictures(panels)
    return [Section("Training", pictures=pictures)] if pictures else []


def _pictures(run: RunDirectory, kind: str) -> list[Section]:
    shown = [
        (run.views, "Images and their views", "Each row: an image, then its views as the encoder sees them.")
    ]
    if kind in _CASES_SHOWN:
        shown.append((run.cases, *_CASES_SHOWN[kind]))
    return [
        Section(title, pictures=[Picture.of_file(file, title, caption)])
        for file, title, caption in shown
        if file.is_file()
    ]


def _settings(config: Mapping[str, Any], kind: str) -> Section:
    """The settings that differ from the defaults."""
    defaults = flatten(_KINDS[kind]())
    rows = [
        (name, str(value), "" if defaults.get(name) is None else str(defaults[name]))
        for name, value in config.items()
        if name not in _NOT_OF_THE_METHOD and value != defaults.get(name)
    ]
    return Section(
        "Settings",
        tables=[Table("Settings that differ from the defaults", ("setting", "value", "default"), rows)],
    )


def _numbers(summary: Mapping[str, Any]) -> Section:
    rows = [
        (shown(name), shown_number(value))
        for name, value in summary.items()
        if not isinstance(value, dict | list)
    ]
    rows += [(name, version) for name, version in (summary.get("versions") or {}).items()]
    return Section("Summary", tables=[Table("summary.json", ("name", "value"), rows)])
