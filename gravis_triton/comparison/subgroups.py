"""Scores by subgroup of the test images, such as skin tone, sex or age, with bootstrap intervals."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gravis_triton.comparison.bootstrap import ClassPredictions, Ints, MaskPredictions, Predictions, score_intervals

FEWEST = 5
"""Lesions or patients, else images, of a class below which a subgroup is not scored on the class."""
UNKNOWN = "unknown"
_MOST_NAMES = 10  # different numbers that are names, as skin types are; more are cut into bands


@dataclass(frozen=True, slots=True, kw_only=True)
class Subgroup:
    """The test images with one value, or band of values, of a column.

    cut: "decades", or "quartiles" of the test images, for a column of numbers; else "". left_out: classes with too few
    images in the subgroup; their images are not scored. scores: name -> value and bounds of its 95% bootstrap interval;
    none if fewer than two classes, or too few masks, are left.
    """

    column: str
    cut: str
    name: str
    images: int
    left_out: tuple[str, ...]
    scores: dict[str, tuple[float, float, float]]


def score_subgroups(
    predictions: Predictions,
    attributes: Mapping[str, Mapping[str, str]],
    *,
    classes: Sequence[str],
) -> list[Subgroup]:
    """The subgroups by each column, in order; the images without a known value come last.

    attributes: column -> image id -> value. classes: names of the classes.
    """
    subgroups = []
    for column, values in attributes.items():
        cut, names, of_image = name_subgroups(column, [values.get(image, "") for image in predictions.ids])
        for number, name in enumerate(names):
            members = np.flatnonzero(of_image == number)
            scorable, left_out = _scorable(predictions.subset(members))
            subgroups.append(
                Subgroup(
                    column=column,
                    cut=cut,
                    name=name,
                    images=len(members),
                    left_out=tuple(classes[label] for label in left_out),
                    scores=score_intervals(scorable) if len(scorable.ids) else {},
                )
            )
    return subgroups


def _scorable(predictions: Predictions) -> tuple[Predictions, list[int]]:
    """The predictions of the images whose class has enough lesions, patients or images among them, and the classes left
    out; for several classes per image, those of the classes that enough have and enough do not have."""
    units = np.array([group or image for group, image in zip(predictions.groups, predictions.ids, strict=True)])
    if isinstance(predictions, ClassPredictions) and predictions.labels.ndim == 2:
        ones = enumerate(predictions.labels.T == 1)
        few = [c for c, one in ones if min(len(set(units[one])), len(set(units[~one]))) < FEWEST]
        return predictions.without(few), few
    strata = predictions.strata
    sizes = Counter(label for label, _ in set(zip(strata.tolist(), units.tolist(), strict=True)))
    enough = [label for label, size in sizes.items() if size >= FEWEST]
    kept = np.flatnonzero(np.isin(strata, enough))
    if isinstance(predictions, MaskPredictions):
        return predictions.subset(kept), []
    return predictions.subset(kept if len(enough) > 1 else kept[:0]), sorted(sizes.keys() - enough)


def name_subgroups(column: str, values: Sequence[str]) -> tuple[str, list[str], Ints]:
    """How the column is cut (see `Subgroup`), the names of its subgroups in order, and each image's index among them.

    values: of each image, "" if unknown. More than 10 different numbers are cut into decades if they are ages by the
    name of the column, else into quartiles.
    """
    known = np.array([value != "" for value in values])
    cut, labels = "", np.array(values)[known]
    order = labels
    try:
        numbers = labels.astype(np.float64)
    except ValueError:
        pass
    else:
        order, labels = numbers, np.array([f"{number:g}" for number in numbers])
        if len(np.unique(numbers)) > _MOST_NAMES and re.search("(^|_)age(_|$)", column.lower()):
            cut, order = "decades", numbers // 10
            labels = np.array([f"{10 * decade:g} to {10 * decade + 9:g}" for decade in order])
        elif len(np.unique(numbers)) > _MOST_NAMES:
            cut, order = "quartiles", np.searchsorted(np.quantile(numbers, [0.25, 0.5, 0.75]), numbers)
            bands = [numbers[order == band] for band in range(4)]
            labels = np.array([f"{bands[band].min():g} to {bands[band].max():g}" for band in order])
    _, first, place = np.unique(order, return_index=True, return_inverse=True)
    names = labels[first].tolist()
    of_image = np.full(len(values), len(names))
    of_image[known] = place
    return cut, names if known.all() else [*names, UNKNOWN], of_image
