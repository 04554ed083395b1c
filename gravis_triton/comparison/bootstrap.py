"""Confidence intervals of differences between two encoders: a paired bootstrap over test images and seeds.

Images of one lesion or patient are drawn together, since they are not independent.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from gravis_triton.evaluation.classification import (
    PARTIAL_AUC_SENSITIVITY,
    argmax_or_tie,
    as_decisions,
    is_class,
    weighted_aucs,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

RESAMPLES = 1000
LEVEL = 0.95
_BOUNDS = ((1 - LEVEL) / 2, 1 - (1 - LEVEL) / 2)  # of an interval, as fractions of the replicates
_ROWS = 100  # resamples at a time, at most
_MAX_CELLS = 2**22  # resamples x images at a time


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean difference over `seeds` seeds, and its bootstrap interval."""

    difference: float
    low: float
    high: float
    seeds: int


def draw_groups(strata: Ints, groups: Sequence[str], *, resamples: int) -> tuple[NDArray[np.uint16], Ints]:
    """How often each group of images occurs in each resample, (resamples, groups), and the group of each image,
    (images,).

    A resample draws groups with replacement, per stratum: each stratum (class) keeps its number of groups, so no class
    is lost. A group of several classes counts as its rarest; an image with group "" is a group of its own. Equal strata
    and groups give equal draws, which pairs two encoders, and seeds that are tested on the same images.
    """
    first: dict[str, int] = {}
    starts = [first.setdefault(name, index) if name else index for index, name in enumerate(groups)]
    clusters, group_of = np.unique(starts, return_inverse=True)
    _, place, sizes = np.unique(strata, return_inverse=True, return_counts=True)
    rarest_first = np.lexsort((strata, sizes[place], group_of))
    chosen = rarest_first[np.searchsorted(group_of[rarest_first], np.arange(len(clusters)))]
    return _draw(strata[chosen], resamples), group_of


def _draw(strata: Ints, resamples: int) -> NDArray[np.uint16]:
    """The counts of `draw_groups` for the stratum of each group."""
    generator = np.random.default_rng(0)
    counts = np.zeros((resamples, len(strata)), np.uint16)
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        for block in _blocks(resamples, len(members)):
            drawn = generator.integers(len(members), size=(block.stop - block.start, len(members)))
            cells = (drawn + len(members) * np.arange(len(drawn))[:, None]).ravel()
            counts[block, members] = np.bincount(cells, minlength=drawn.size).reshape(drawn.shape)
    return counts


def _blocks(resamples: int, images: int) -> list[slice]:
    """Resamples to compute at a time."""
    rows = min(_ROWS, max(1, _MAX_CELLS // images))
    return [slice(start, min(start + rows, resamples)) for start in range(0, resamples, rows)]


def weighted_balanced_accuracies(probabilities: Floats, labels: Ints, counts: Ints) -> Floats:
    """Balanced accuracy of each resample, (resamples,): the mean recall of the classes that occur; see
    `balanced_accuracy`."""
    if labels.ndim == 2:
        decisions = [as_decisions(probabilities[:, [c]], labels[:, [c]]) for c in range(labels.shape[1])]
        return _mean_of_known([weighted_balanced_accuracies(*column, counts) for column in decisions])
    right = argmax_or_tie(probabilities) == labels
    # a class may not be drawn if all its images are grouped with images of rarer classes
    with np.errstate(invalid="ignore"):
        recalls = [
            (counts[:, labels == label] @ right[labels == label]) / counts[:, labels == label].sum(1)
            for label in np.unique(labels)
        ]
    return _mean_of_known(recalls)


def _mean_of_known(scores: Sequence[Floats]) -> Floats:
    """Mean of the scores that are not NaN in each resample, (resamples,); NaN if all are."""
    known = ~np.isnan(scores)
    total, count = np.where(known, scores, 0).sum(0), known.sum(0)
    return np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)


@dataclass(frozen=True, slots=True)
class ClassPredictions:
    """Predicted class probabilities (images, classes) of labeled test images, in the order of their ids.

    groups: lesion or patient of each image, "" if unknown. labels: (images,), or 0 and 1 (images, classes). scored: the
    classes whose AUCs are averaged.
    """

    ids: tuple[str, ...]
    groups: tuple[str, ...]
    labels: Ints
    probabilities: Floats
    scored: tuple[int, ...]

    @property
    def strata(self) -> Ints:
        if self.labels.ndim == 1:
            return self.labels
        sizes = np.where(self.labels == 1, self.labels.sum(0), len(self.labels) + 1)
        return np.where(self.labels.any(1), sizes.argmin(1), -1)  # the rarest class, -1 for none

    def subset(self, images: Ints) -> "ClassPredictions":
        """The predictions of the images with these indices."""
        ids, groups = (tuple(names[index] for index in images) for names in (self.ids, self.groups))
        return ClassPredictions(ids, groups, self.labels[images], self.probabilities[images], self.scored)

    def without(self, classes: Sequence[int]) -> "ClassPredictions":
        """The predictions of several classes per image without these; of no image without any scored one."""
        kept = [index for index in range(self.labels.shape[1]) if index not in classes]
        scored = tuple(place for place, index in enumerate(kept) if index in self.scored)
        rest = ClassPredictions(self.ids, self.groups, self.labels[:, kept], self.probabilities[:, kept], scored)
        return rest if scored else rest.subset(np.zeros(0, np.int64))

    def scores(self, counts: Ints) -> dict[str, Floats]:
        """Every score of each resample, (resamples,)."""

        def mean_auc(sensitivity: float) -> Floats:
            columns = [(self.probabilities[:, c], is_class(self.labels, c)) for c in self.scored]
            return _mean_of_known([weighted_aucs(*column, counts, sensitivity=sensitivity) for column in columns])

        return {
            "mean_auc": mean_auc(0.0),
            "mean_partial_auc": mean_auc(PARTIAL_AUC_SENSITIVITY),
            "balanced_accuracy": weighted_balanced_accuracies(self.probabilities, self.labels, counts),
        }


@dataclass(frozen=True, slots=True)
class MaskPredictions:
    """Scores of predicted masks, name -> (images,), in the order of their ids; groups as in `ClassPredictions`."""

    ids: tuple[str, ...]
    groups: tuple[str, ...]
    values: dict[str, Floats]

    @property
    def strata(self) -> Ints:
        return np.zeros(len(self.ids), np.int64)

    def subset(self, images: Ints) -> "MaskPredictions":
        """The predictions of the images with these indices."""
        ids, groups = (tuple(names[index] for index in images) for names in (self.ids, self.groups))
        return MaskPredictions(ids, groups, {name: values[images] for name, values in self.values.items()})

    def scores(self, counts: Ints) -> dict[str, Floats]:
        """Every score of each resample, (resamples,): means over images."""
        return {name: counts @ values / counts.sum(1) for name, values in self.values.items()}


Predictions: TypeAlias = ClassPredictions | MaskPredictions


def resampled_scores(predictions: Predictions, *, resamples: int = RESAMPLES) -> dict[str, Floats]:
    """Every score of each resample of the test images, (resamples,); the same images have the same resamples."""
    counts, group_of = draw_groups(predictions.strata, predictions.groups, resamples=resamples)
    chunks = [
        predictions.scores(counts[block].astype(np.int64)[:, group_of]) for block in _blocks(resamples, len(group_of))
    ]
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


def score_intervals(predictions: Predictions) -> dict[str, tuple[float, float, float]]:
    """Every score with the bounds of its 95% bootstrap interval over the images, or their lesions and patients."""
    observed = predictions.scores(np.ones((1, len(predictions.ids)), np.int64))
    bounds = {name: np.quantile(values, _BOUNDS) for name, values in resampled_scores(predictions).items()}
    return {name: (float(observed[name][0]), float(low), float(high)) for name, (low, high) in bounds.items()}


def paired_interval(observed: Sequence[float], resampled: Sequence[Floats], *, same_images: bool) -> Interval:
    """The mean of the differences `observed`, one per seed, with the 2.5 and 97.5 percentiles of its replicates.

    resampled: for each seed, the difference under each resample of its test images, (resamples,), see
    `resampled_scores`. A replicate draws as many seeds as there are, with replacement, and one resample of the images
    for each of them, and averages their differences (a two-level bootstrap, Davison and Hinkley 1997, 3.8).
    same_images: all seeds are tested on the same images; a replicate then uses one resample for all its seeds, since
    the effect of the images does not average out over seeds. Otherwise it uses a separate one for each.
    NaN if a score has no value.
    """
    differences = np.stack(list(resampled))
    seeds, resamples = differences.shape
    generator = np.random.default_rng(1)  # not the random numbers of the image draws
    drawn_seeds = generator.integers(seeds, size=(resamples, seeds))
    drawn = generator.integers(resamples, size=(resamples, seeds))
    if same_images:
        drawn = np.repeat(np.arange(resamples)[:, None], seeds, axis=1)
    replicates = differences[drawn_seeds, drawn].mean(1)
    low, high = np.quantile(replicates, _BOUNDS)
    return Interval(float(np.mean(observed)), float(low), float(high), seeds)
