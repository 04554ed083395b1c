"""Figures of predicted classes: confusion matrix, ROC curves, calibration."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from sklearn.metrics import roc_curve

from gravis_triton.evaluation.classification import (
    Bools,
    ClassificationScores,
    Floats,
    Ints,
    auc,
    calibration_bins,
    checked_probabilities,
    expected_calibration_error,
)
from gravis_triton.report.figures import COLORS, new_figure, plain_axes, shown_name

_MOST_WRITTEN = 24  # maximum classes of a confusion matrix with numbers


def draw_confusion(scores: ClassificationScores) -> Figure:
    """The confusion matrix: one row per true class, with counts and fractions of the row, or colors only if there are
    many classes."""
    names = [shown_name(one.name) for one in scores.classes]
    totals = np.array([[one.images] for one in scores.classes])
    shares = scores.confusion / np.maximum(totals, 1)
    written = len(names) <= _MOST_WRITTEN
    side = 2.0 + 0.7 * min(len(names), _MOST_WRITTEN)
    figure = new_figure(side + 0.6, side)
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), share in np.ndenumerate(shares) if written else ():
        axes.text(
            column,
            row,
            f"{scores.confusion[row, column]:,}\n{share:.0%}",
            ha="center",
            va="center",
            fontsize=9,
            color="white" if share > 0.65 else "black",
        )
    small = None if written else 10 * _MOST_WRITTEN / len(names)
    turned = 30 if written else 90
    axes.set_xticks(
        range(len(names)), names, rotation=turned, ha="right", rotation_mode="anchor", fontsize=small
    )
    axes.set_yticks(range(len(names)), names, fontsize=small)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_ylabel("true class")
    ties = f" ({scores.ties:,} ties not shown)" if scores.ties else ""
    axes.set_xlabel(f"predicted class{ties}")
    axes.set_title(f"balanced accuracy {scores.balanced_accuracy:.3f}, {scores.images:,} images", fontsize=11)
    return figure


def draw_curves(
    probabilities: ArrayLike, labels: ArrayLike, *, classes: Sequence[str], scored: Sequence[str]
) -> Figure:
    """Left, the one-vs-rest ROC curve of each scored class; right, accuracy by confidence.

    Arguments as for `classification_scores`.
    """
    p, y = checked_probabilities(probabilities, labels, classes=len(classes))
    figure = new_figure(9.6, 4.6)
    left, right = figure.subplots(1, 2)
    curves = [
        (name, p[:, index], y == index) for index, name in enumerate(classes) if name in (scored or classes)
    ]
    _draw_roc(left, curves)
    _draw_calibration(right, p, y)
    for axes in (left, right):
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
        plain_axes(axes)
    return figure


def _draw_roc(axes: Axes, curves: Sequence[tuple[str, Floats, Bools]]) -> None:
    axes.plot([0, 1], [0, 1], color="0.75", linewidth=1, linestyle="--")
    for number, (name, scores, positive) in enumerate(curves):
        area = auc(scores, positive)
        if np.isnan(area):
            continue
        false_positives, true_positives, _ = roc_curve(positive, scores)
        label = f"{shown_name(name)}: AUC {area:.3f}"
        axes.plot(false_positives, true_positives, color=COLORS[number % len(COLORS)], label=label)
    axes.set(xlabel="1 - specificity", ylabel="sensitivity", title="ROC, one vs. rest")
    if len(axes.lines) > 1:
        axes.legend(loc="lower right", frameon=False, fontsize=9)


def _draw_calibration(axes: Axes, p: Floats, y: Ints) -> None:
    bins = calibration_bins(p, y)
    known = bins.images > 0
    share = bins.images[known] / len(y)
    edges = (np.arange(len(bins.images)) / len(bins.images))[known]
    axes.plot([0, 1], [0, 1], color="0.75", linewidth=1, linestyle="--")
    axes.bar(edges, share, 1 / len(bins.images), align="edge", color="0.9", label="fraction of images")
    axes.plot(
        bins.confidence[known],
        bins.accuracy[known],
        marker="o",
        markersize=4,
        color=COLORS[0],
        label="accuracy",
    )
    error = expected_calibration_error(p, y)
    axes.set(xlabel="confidence", ylabel="fraction", title=f"expected calibration error {error:.3f}")
    axes.legend(loc="upper left", frameon=False, fontsize=9)
