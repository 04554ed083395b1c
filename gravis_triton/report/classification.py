"""Figures of predicted classes: confusion matrix, curves, and the most confident predictions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from gravis_triton.data import Collection
from gravis_triton.data.loading.loader import Images, collate_central_squares
from gravis_triton.evaluation.classification import ClassificationScores, calibration_bins, is_class, operating_points
from gravis_triton.evaluation.saliency import Saliency
from gravis_triton.report.figures import Pixels, class_label, draw_cases, styled, thinned, write_figure
from gravis_triton.run_directory import RunDirectory

_MOST_WRITTEN = 24  # maximum classes of a confusion matrix with numbers
_DARKEST = 0.6  # opacity of the shade at zero saliency


def write_class_figures(
    run: RunDirectory,
    scores: ClassificationScores,
    probabilities: ArrayLike,
    labels: ArrayLike,
    *,
    name: str = "",
    caption: str = "",
) -> None:
    """Write curves.png and, for one class per image, confusion.png; with a name, confusion_NAME.png and so on.

    probabilities, labels: those that were scored.
    """
    if scores.confusion.ndim == 2:
        write_figure(draw_confusion(scores), run.predictions("confusion.png", name), caption=caption)
    figure = draw_curves(scores, np.asarray(probabilities, np.float64), np.asarray(labels))
    write_figure(figure, run.predictions("curves.png", name), caption=caption)


@styled
def draw_confusion(scores: ClassificationScores) -> Figure:
    """The confusion matrix: one row per true class, with counts and fractions of the row, or colors only if there are
    many classes."""
    names = [class_label(cls.name) for cls in scores.classes]
    shares = scores.confusion / np.maximum([[cls.images] for cls in scores.classes], 1)
    written = len(names) <= _MOST_WRITTEN
    side = 2.0 + 0.7 * min(len(names), _MOST_WRITTEN)
    figure = Figure(figsize=(side + 0.6, side))
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), share in np.ndenumerate(shares) if written else ():
        text = f"{scores.confusion[row, column]:,}\n{share:.0%}"
        axes.text(column, row, text, ha="center", va="center", color="white" if share > 0.65 else "black")
    turned = 30 if written else 90
    axes.set_xticks(range(len(names)), names, rotation=turned, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(length=0, labelsize=9 if written else 10 * _MOST_WRITTEN / len(names))
    axes.spines[:].set_visible(False)
    ties = f" ({scores.ties:,} ties not shown)" if scores.ties else ""
    axes.set(ylabel="true class", xlabel=f"predicted class{ties}")
    axes.set_title(f"balanced accuracy {scores.balanced_accuracy:.3f}, {scores.images:,} images")
    return figure


@styled
def draw_curves(scores: ClassificationScores, p: NDArray[np.float64], labels: NDArray[np.int64]) -> Figure:
    """The ROC and the precision-recall curve of each scored class against the rest, and accuracy by confidence.

    p: the probabilities (images, classes) of which these are the scores.
    """
    figure = Figure(figsize=(12.6, 4.4))
    roc, precisions, calibration = figure.subplots(1, 3)
    roc.plot([0, 1], [0, 1], color="0.75", linewidth=1, linestyle="--")
    for index, c in enumerate(scores.classes):
        if c.name in scores.scored and 0 < c.images < scores.images:
            negatives, positives = operating_points(p[:, index], is_class(labels, index))
            recall, label = positives / positives[-1], class_label(c.name)
            precision = np.append(1, positives[1:] / (negatives + positives)[1:])
            roc.plot(negatives / negatives[-1], recall, label=f"{label}: AUC {c.auc:.3f}")
            precisions.plot(recall, precision, label=f"{label}: AP {c.average_precision:.3f}")
    _draw_calibration(calibration, scores, p, labels)
    roc.set(xlabel="1 - specificity", ylabel="sensitivity", title="ROC, one vs. rest")
    precisions.set(xlabel="recall", ylabel="precision", title="Precision and recall, one vs. rest")
    for axes in (roc, precisions, calibration):
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
        if axes.get_legend_handles_labels()[0]:
            axes.legend()
    return figure


def _draw_calibration(
    axes: Axes, scores: ClassificationScores, p: NDArray[np.float64], labels: NDArray[np.int64]
) -> None:
    bins = calibration_bins(p, labels)
    known = bins.images > 0
    edges = (np.arange(len(known)) / len(known))[known]
    share = bins.images[known] / bins.images.sum()
    axes.plot([0, 1], [0, 1], color="0.75", linewidth=1, linestyle="--")
    axes.bar(edges, share, 1 / len(known), align="edge", color="0.9", label="fraction of images")
    axes.plot(bins.confidence[known], bins.accuracy[known], marker="o", color="C0", label="accuracy")
    error = f"expected calibration error {scores.expected_calibration_error:.3f}"
    axes.set(xlabel="confidence", ylabel="fraction", title=error)


@dataclass(frozen=True, slots=True)
class ClassCase:
    """One central square (side, side, 3) uint8. map: saliency of the predicted class (size, size), in [0, 1]."""

    image_id: str
    image: Pixels
    truth: str
    predicted: str
    probability: float
    map: Tensor | None


def write_class_cases(
    run: RunDirectory,
    collection: Collection,
    images: Images,
    indices: Sequence[int],
    probabilities: Tensor,
    find_saliency: Callable[[Tensor, Tensor], Saliency | None],
    *,
    caption: str = "",
) -> None:
    """Write cases.png: the most confident predictions, correct and wrong, among the labeled images `indices`.
    find_saliency: saliency of central squares (images, 3, side, side) uint8 for one class each."""
    kinds = choose_class_cases(probabilities, torch.tensor(collection.labels(indices)))
    chosen = [number for row in kinds.values() for number in row]
    squares = collate_central_squares([images[indices[number]] for number in chosen])
    confidence, predicted = probabilities[chosen].max(1)
    saliency = find_saliency(squares, predicted)
    maps = [None] * len(chosen) if saliency is None else saliency.maps
    cases = {}
    for number, square, p, index, saliency_map in zip(
        chosen, squares, confidence.tolist(), predicted.tolist(), maps, strict=True
    ):
        record = collection.records[indices[number]]
        image, truth = square.permute(1, 2, 0).numpy(), collection.class_names(record) or "none"
        cases[number] = ClassCase(record.id, image, truth, collection.classes[index], p, saliency_map)
    rows = {kind: [cases[number] for number in row] for kind, row in kinds.items()}
    figure = draw_class_cases(rows, layer=None if saliency is None else saliency.layer)
    write_figure(figure, run.cases, caption=caption)


def choose_class_cases(probabilities: Tensor, labels: Tensor, *, count: int = 4) -> dict[str, list[int]]:
    """Indices of the most confident predictions, correct and wrong, up to `count` of a kind; the first of ties. A kind
    without images is left out. labels: as in `ClassLoss`; of several classes, any is correct."""
    confidence, predicted = probabilities.max(1)
    order = confidence.argsort(descending=True, stable=True)
    hits = predicted == labels if labels.ndim == 1 else labels.gather(1, predicted[:, None])[:, 0] == 1
    kinds = {"most confident, correct": order[hits[order]], "most confident, wrong": order[~hits[order]]}
    return {kind: row[:count].tolist() for kind, row in kinds.items() if len(row)}


def draw_class_cases(cases: Mapping[str, Sequence[ClassCase]], layer: str | None) -> Figure:
    """One row of images per kind, with predicted and true class. layer: of the maps, or None without maps."""
    figure = draw_cases(cases, _draw_case, aspect=1.0, label_lines=3)
    if layer is not None:
        figure.suptitle(f"bright: evidence for the predicted class (Grad-CAM, {layer})", fontsize=10)
    return figure


def _draw_case(axes: Axes, case: ClassCase) -> None:
    extent = (0, 1, 1, 0)
    axes.imshow(thinned(case.image), extent=extent)
    if case.map is not None:
        shade = _DARKEST * (1 - case.map.numpy())  # darken: skin or a color chart may have any color
        axes.imshow(np.zeros_like(shade), extent=extent, cmap="gray", vmin=0, vmax=1, alpha=shade)
    truth = "" if case.truth == case.predicted else f"\ntrue: {class_label(case.truth)}"
    label = f"{case.image_id}\n{class_label(case.predicted)} {case.probability:.2f}{truth}"
    axes.set_xlabel(label, fontsize="small")
