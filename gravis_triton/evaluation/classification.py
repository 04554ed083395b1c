"""Scores of predicted class probabilities, as the ISIC challenges define them.

Probabilities are (images, classes) float64 and labels are class indices (images,), or 0 and 1 (images, classes) where
an image may have several classes: each is then a decision between two. An undefined score, such as an AUC
without positive images, is NaN and left out of means, as in the challenges' scorer
(github.com/ImageMarkup/isic-challenge-scoring).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

SENSITIVITIES = (0.82, 0.89, 0.95)
"""Sensitivities at which ISIC 2017 reports the specificity; 0.82 is the dermatologists' (Marchetti et al., 2018)."""
SPECIFICITIES = (0.80, 0.95)
"""Specificities at which the sensitivity is reported."""
PARTIAL_AUC_SENSITIVITY = 0.80
"""Sensitivity above which `partial_auc` is the area: that of ISIC 2024."""
CALIBRATION_BINS = 15
_SUM_TOLERANCE = 1e-3  # rounding of a softmax in half precision


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassScores:
    """One-vs-rest scores of a class.

    images: number of images of this class. recall: fraction of them whose most probable class is this one; for several
    classes per image, of those above 0.5.
    partial_auc: above a sensitivity of 0.8, as in ISIC 2024. sensitivity, specificity: at a probability threshold of
    0.5, as in ISIC 2017 to 2019.
    sensitivity_at, specificity_at: keyed by the given specificity or sensitivity.
    """

    name: str
    images: int
    auc: float
    partial_auc: float
    average_precision: float
    recall: float
    sensitivity: float
    specificity: float
    sensitivity_at: dict[float, float]
    specificity_at: dict[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassificationScores:
    """mean_auc, mean_partial_auc, mean_average_precision: over the scored classes. confusion: (true class, predicted
    class) counts, without images whose most probable class is tied; for several classes per image (class, truth,
    decision). ties: number of those images.

    For several classes per image, accuracy and calibration are over all images and classes, and the balanced accuracy
    is the mean over the classes.
    """

    images: int
    mean_auc: float
    mean_partial_auc: float
    balanced_accuracy: float
    accuracy: float
    mean_average_precision: float
    expected_calibration_error: float
    classes: tuple[ClassScores, ...]
    scored: tuple[str, ...]
    confusion: Ints
    ties: int

    def flat(self) -> dict[str, float]:
        """Every score by name: `mean_auc`, `auc_melanoma`, `sensitivity_at_specificity_95_melanoma`,
        `specificity_at_sensitivity_82_melanoma`, ..."""
        named = _floats(self)
        for c in self.classes:
            scores = _floats(c)
            scores |= {f"sensitivity_at_specificity_{at * 100:g}": value for at, value in c.sensitivity_at.items()}
            scores |= {f"specificity_at_sensitivity_{at * 100:g}": value for at, value in c.specificity_at.items()}
            named |= {f"{name}_{c.name}": value for name, value in scores.items()}
        return named


def _floats(scores: ClassScores | ClassificationScores) -> dict[str, float]:
    values = {field.name: getattr(scores, field.name) for field in fields(scores)}
    return {name: value for name, value in values.items() if isinstance(value, float)}


def classification_scores(
    probabilities: ArrayLike, labels: ArrayLike, *, classes: Sequence[str], scored: Sequence[str]
) -> ClassificationScores:
    """All scores of predicted class probabilities (images, classes) against labels.

    Each row sums to 1, except for several classes per image.

    scored: the classes whose AUCs and average precisions are averaged (ISIC 2017: melanoma, seborrheic keratosis);
    all classes if empty.
    Raises ValueError for mismatched shapes, no images, values that are not probabilities, and unknown labels or
    classes.
    """
    scored = tuple(scored) or tuple(classes)
    unknown = [name for name in scored if name not in classes]
    if unknown:
        raise ValueError(f"scored classes {', '.join(unknown)} are not among {', '.join(classes)}")
    p, y = checked_probabilities(probabilities, labels, classes=len(classes))
    predicted = argmax_or_tie(p) if y.ndim == 1 else (p > 0.5).astype(np.int64)
    recall = recalls(predicted, y, classes=len(classes))
    per_class = tuple(
        _class_scores(name, p[:, index], is_class(y, index), float(recall[index])) for index, name in enumerate(classes)
    )
    averaged = [scores for scores in per_class if scores.name in scored]
    return ClassificationScores(
        images=len(y),
        mean_auc=nanmean(scores.auc for scores in averaged),
        mean_partial_auc=nanmean(scores.partial_auc for scores in averaged),
        balanced_accuracy=balanced_accuracy(p, y),
        accuracy=float(np.mean(predicted == y)),
        mean_average_precision=nanmean(scores.average_precision for scores in averaged),
        expected_calibration_error=expected_calibration_error(p, y),
        classes=per_class,
        scored=scored,
        confusion=_confusion(predicted, y, classes=len(classes)),
        ties=int(np.sum(predicted < 0)),
    )


def _class_scores(name: str, p: Floats, positive: Bools, recall: float) -> ClassScores:
    predicted = p > 0.5
    return ClassScores(
        name=name,
        images=int(positive.sum()),
        auc=auc(p, positive),
        partial_auc=partial_auc(p, positive),
        average_precision=average_precision(p, positive),
        recall=recall,
        sensitivity=_fraction(predicted[positive]),
        specificity=_fraction(~predicted[~positive]),
        sensitivity_at={given: sensitivity_at_specificity(p, positive, given) for given in SPECIFICITIES},
        specificity_at={given: specificity_at_sensitivity(p, positive, given) for given in SENSITIVITIES},
    )


def _confusion(predicted: Ints, labels: Ints, *, classes: int) -> Ints:
    if labels.ndim == 2:
        return np.stack([_confusion(*column, classes=2) for column in zip(predicted.T, labels.T, strict=True)])
    known = predicted >= 0
    cells = labels[known] * classes + predicted[known]
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes)


def checked_probabilities(probabilities: ArrayLike, labels: ArrayLike, *, classes: int) -> tuple[Floats, Ints]:
    """Probabilities as float64 and labels as int64. Raises ValueError for invalid input."""
    p, y = np.asarray(probabilities, np.float64), np.asarray(labels)
    if p.ndim != 2 or p.shape[1] != classes:
        raise ValueError(f"probabilities of shape {p.shape}: expected (images, {classes})")
    if y.shape not in (p.shape[:1], p.shape):
        raise ValueError(f"labels of shape {y.shape} for {len(p)} images: expected one per image")
    if not len(p):
        raise ValueError("no images to score")
    largest = classes - 1 if y.ndim == 1 else 1
    if y.dtype.kind not in "iu" or y.min() < 0 or y.max() > largest:
        raise ValueError(f"labels must be integers from 0 to {largest}")
    lowest, highest, total = p.min(1), p.max(1), p.sum(1)
    if not np.isfinite(total).all():
        raise ValueError(f"probabilities of image {np.isfinite(total).argmin()} are not finite")
    if (outside := (lowest < 0) | (highest > 1)).any():
        raise ValueError(f"probabilities of image {outside.argmax()} are outside [0, 1]: logits?")
    if y.ndim == 1 and (off := np.abs(total - 1) > _SUM_TOLERANCE).any():
        raise ValueError(f"probabilities of image {off.argmax()} sum to {total[off][0]:g}, not 1")
    return p, y.astype(np.int64)


def nanmean(values: Iterable[float] | Floats) -> float:
    """The mean of the values that are not NaN; NaN if there are none."""
    known = [float(value) for value in values if not np.isnan(value)]
    return sum(known) / len(known) if known else float("nan")


def selection_score(probabilities: Floats, labels: Ints, scored: Sequence[int]) -> float:
    """The validation score by which hyperparameters are chosen: the mean AUC of the scored classes, which is finer than
    balanced accuracy on few images, or the balanced accuracy if no scored class has an AUC."""
    score = mean_auc(probabilities, labels, scored)
    return balanced_accuracy(probabilities, labels) if np.isnan(score) else score


def mean_auc(probabilities: Floats, labels: Ints, scored: Sequence[int]) -> float:
    """The mean AUC of the scored classes that have one; NaN if none has."""
    return nanmean(auc(probabilities[:, c], is_class(labels, c)) for c in scored)


def is_class(labels: Ints, index: int) -> Bools:
    """Whether each image is of a class, (images,)."""
    return labels == index if labels.ndim == 1 else labels[:, index] == 1


def as_decisions(probabilities: Floats, labels: Ints) -> tuple[Floats, Ints]:
    """For several classes per image: probabilities (images * classes, 2) and labels (images * classes,) of decisions
    between no and yes. Others are unchanged."""
    if labels.ndim == 1:
        return probabilities, labels
    return np.stack([1 - probabilities, probabilities], axis=-1).reshape(-1, 2), labels.ravel()


def balanced_accuracy(probabilities: Floats, labels: Ints) -> float:
    """Mean recall of the classes (ISIC 2018, 2019); for several classes per image, the mean over them of the mean
    recall of no and yes."""
    if labels.ndim == 1:
        return nanmean(recalls(argmax_or_tie(probabilities), labels, classes=probabilities.shape[1]))
    columns = [slice(index, index + 1) for index in range(labels.shape[1])]
    return nanmean(balanced_accuracy(*as_decisions(probabilities[:, c], labels[:, c])) for c in columns)


def auc(scores: Floats, positive: Bools) -> float:
    """Area under the ROC curve: the probability that a positive image scores above a negative one; a tie counts half.

    NaN unless there are both positive and negative images.
    """
    return partial_auc(scores, positive, sensitivity=0.0)


def partial_auc(scores: Floats, positive: Bools, *, sensitivity: float = PARTIAL_AUC_SENSITIVITY) -> float:
    """Area between the ROC curve and the line at this sensitivity: 0 to 1 - sensitivity, and (1 - sensitivity)^2 / 2 by
    chance. At 0.8 it is the score of ISIC 2024. NaN unless there are both positive and negative images.
    """
    once = np.ones((1, len(scores)), np.int64)
    return float(weighted_aucs(scores, positive, once, sensitivity=sensitivity)[0])


def weighted_aucs(scores: Floats, positive: Bools, counts: Ints, *, sensitivity: float = 0.0) -> Floats:
    """Area under the ROC curve above a sensitivity, with each image counted as often as in a row of counts (resamples,
    images): (resamples,). A tie counts half. NaN unless both classes occur.

    With w the counts: sum over positive p and negative n of w_p w_n ([s_p > s_n] + [s_p = s_n] / 2), over the sum of
    all w_p w_n; computed from the sorted scores in O(images) per resample. p are only the lowest of the positives, up
    to 1 - sensitivity of them, see `partial_auc`.
    """
    order = np.argsort(scores, kind="stable")
    own, others = order[positive[order]], order[~positive[order]]
    values, starts = np.unique(scores[own], return_index=True)  # of runs of positives with equal scores
    positives = np.add.reduceat(counts[:, own], starts, axis=1)
    negatives = np.pad(np.cumsum(counts[:, others], axis=1), [(0, 0), (1, 0)])
    below, up_to = (negatives[:, np.searchsorted(scores[others], values, side)] for side in ("left", "right"))
    used, ties = positives, up_to - below
    if sensitivity:
        before = np.cumsum(positives, axis=1) - positives
        used = np.clip((1 - sensitivity) * positives.sum(1, keepdims=True) - before, 0, positives)
        ties = ties * np.divide(used, positives, out=np.zeros_like(used), where=positives > 0)
    won = (used * (2 * below + ties)).sum(1) / 2
    pairs = (positives.sum(1) * negatives[:, -1]).astype(np.float64)
    return np.divide(won, pairs, out=np.full(len(counts), np.nan), where=pairs > 0)


def operating_points(scores: Floats, positive: Bools) -> tuple[Ints, Ints]:
    """Numbers of negative and of positive images at or above each threshold, from above all scores to the lowest:
    (distinct scores + 1,) each. The points of the ROC and the precision-recall curve."""
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.diff(scores[order], append=np.nan))  # of runs of equal scores
    negatives, positives = (np.append(0, np.cumsum(flags[order])[ends]) for flags in (~positive, positive))
    return negatives, positives


def average_precision(scores: Floats, positive: Bools) -> float:
    """Sum over the thresholds, from the highest, of (recall gained) * precision, without interpolation.

    NaN unless there are both positive and negative images.
    """
    if not 0 < positive.sum() < len(positive):
        return float("nan")
    negatives, positives = operating_points(scores, positive)
    precision = positives[1:] / (negatives + positives)[1:]
    return float((np.diff(positives) * precision).sum() / positives[-1])


def specificity_at_sensitivity(scores: Floats, positive: Bools, sensitivity: float) -> float:
    """The highest specificity at a sensitivity of at least the given one, as in ISIC 2017.

    Thresholds are the scores, without interpolation. NaN unless there are both positive and negative images.
    """
    if not 0 < positive.sum() < len(positive):
        return float("nan")
    negatives, positives = operating_points(scores, positive)
    return float(1 - negatives[positives / positives[-1] >= sensitivity].min() / negatives[-1])


def sensitivity_at_specificity(scores: Floats, positive: Bools, specificity: float) -> float:
    """The highest sensitivity at a specificity of at least the given one; see `specificity_at_sensitivity`.

    A threshold above all scores counts too, so the lowest value is 0, not NaN.
    """
    return specificity_at_sensitivity(-scores, ~positive, specificity)


def argmax_or_tie(probabilities: Floats) -> Ints:
    """The most probable class of each image, or -1 (always wrong) for a tie (ISIC 2018, 2019)."""
    highest = probabilities == probabilities.max(1, keepdims=True)
    return np.where(highest.sum(1) == 1, probabilities.argmax(1), -1)


def recalls(predicted: Ints, labels: Ints, *, classes: int) -> Floats:
    """Recall of each class, (classes,); NaN for a class without images. predicted: as labels."""
    return np.array([_fraction(is_class(predicted, c)[is_class(labels, c)]) for c in range(classes)])


def _fraction(flags: Bools) -> float:
    """Fraction of the flags that are set; NaN if there are none."""
    return float(flags.mean()) if len(flags) else float("nan")


@dataclass(frozen=True, slots=True)
class CalibrationBins:
    """Number of images, mean confidence and accuracy of each confidence bin; the latter two are NaN for an empty bin.

    Bin b of n holds confidences in (b/n, (b+1)/n].
    """

    images: Ints
    confidence: Floats
    accuracy: Floats


def calibration_bins(probabilities: Floats, labels: Ints, *, bins: int = CALIBRATION_BINS) -> CalibrationBins:
    """Bins by confidence, the probability of the most probable class (or decision); a tie counts as wrong."""
    probabilities, labels = as_decisions(probabilities, labels)
    confidence = probabilities.max(1)
    correct = argmax_or_tie(probabilities) == labels
    bin_of = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    images = np.bincount(bin_of, minlength=bins)
    with np.errstate(invalid="ignore"):
        means = [np.bincount(bin_of, values, minlength=bins) / images for values in (confidence, correct)]
    return CalibrationBins(images, *means)


def expected_calibration_error(probabilities: Floats, labels: Ints, *, bins: int = CALIBRATION_BINS) -> float:
    """sum over bins b of (n_b / n) * |accuracy_b - confidence_b|, over equal-width confidence bins
    (Naeini et al., 2015; Guo et al., 2017, arXiv 1706.04599, who use 15 bins)."""
    b = calibration_bins(probabilities, labels, bins=bins)
    known = b.images > 0
    gaps = np.abs(b.accuracy[known] - b.confidence[known])
    return float(np.sum(b.images[known] * gaps) / b.images.sum())
