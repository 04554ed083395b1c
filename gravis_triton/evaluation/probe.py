"""A linear probe on frozen features."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gravis_triton.evaluation.classification import selection_score
from gravis_triton.evaluation.features import LabeledFeatures
from gravis_triton.evaluation.logistic import (
    Floats,
    LogisticProblem,
    fit_logistic,
    logistic_problem,
    weight_and_bias,
)

INVERSE_PENALTIES = (1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 1.0)
"""Values of C that `fit_probe` tries; small ones suit many features and few images."""
_TO_CHOOSE, _TO_SCORE = 1e-5, 1e-8  # tolerances while choosing C and for the returned probe
_MOST_AHEAD = 1.5  # maximum extrapolation, in units of the last step in log C


@dataclass(frozen=True, slots=True)
class LinearProbe:
    """weight (known classes, dim) and bias (known classes,), float64, of the logits of the `known` classes, those with
    training images. inverse_penalty: C of the logistic regression, chosen on the validation set. classes: number of
    all classes."""

    weight: Tensor
    bias: Tensor
    known: Tensor
    inverse_penalty: float
    classes: int

    def probabilities(self, features: Tensor) -> Tensor:
        """(images, classes) float64; 0 for a class without training images."""
        p = torch.zeros(len(features), self.classes, dtype=torch.float64)
        p[:, self.known] = (features.double() @ self.weight.T + self.bias).softmax(dim=1)
        return p


def fit_probe(
    train: LabeledFeatures,
    validation: LabeledFeatures,
    *,
    classes: int,
    scored: Sequence[int],
    progress: Callable[[int, int], None] | None = None,
) -> LinearProbe:
    """A multinomial logistic regression on the training features, standardized by their mean and deviation.

    It minimizes |w|^2 / 2 + C * sum of the log-losses, each weighted inversely to the frequency of its class; two
    classes share one w, as in scikit-learn. C maximizes `selection_score` on the validation set; ties go to the
    smallest. The probe is not refitted on the training and validation images combined. progress: called with (done,
    total) probes.
    Raises ValueError if all training images are of one class.
    """
    known, labels = train.labels.unique(return_inverse=True)
    if len(known) < 2:
        raise ValueError(f"a probe needs training images of at least 2 classes, got {len(known)}")
    problem = logistic_problem(train.features.numpy(), labels.numpy())

    def probe_of(solution: Floats, inverse_penalty: float) -> LinearProbe:
        weight, bias = (torch.from_numpy(values) for values in weight_and_bias(problem, solution))
        return LinearProbe(weight, bias, known, inverse_penalty, classes)

    def score(probe: LinearProbe) -> float:
        p = probe.probabilities(validation.features).numpy()
        return selection_score(p, validation.labels.numpy(), scored)

    solutions: list[Floats] = []
    for inverse_penalty in INVERSE_PENALTIES:
        start = _start(problem, solutions)
        solutions.append(_fit(problem, inverse_penalty, start, _TO_CHOOSE))
        if progress is not None:
            progress(len(solutions), len(INVERSE_PENALTIES))
    scores = [score(probe_of(*pair)) for pair in zip(solutions, INVERSE_PENALTIES, strict=True)]
    best = int(np.argmax(scores))
    inverse_penalty = INVERSE_PENALTIES[best]
    return probe_of(_fit(problem, inverse_penalty, solutions[best], _TO_SCORE), inverse_penalty)


def _fit(problem: LogisticProblem, inverse_penalty: float, start: Floats, tolerance: float) -> Floats:
    # for two classes, w = w_1 - w_0 with w_1 = -w_0 = w / 2 has the penalty |w|^2 / 4
    factor = 0.5 if problem.targets.shape[1] == 2 else 1.0
    return fit_logistic(problem, factor * inverse_penalty, start=start, tolerance=tolerance)


def _start(problem: LogisticProblem, solutions: Sequence[Floats]) -> Floats:
    """Initial guess for the next solution: the last two, extrapolated linearly in log C."""
    if len(solutions) < 2:
        return solutions[-1] if solutions else problem.no_solution
    before, last, following = map(math.log, INVERSE_PENALTIES[len(solutions) - 2 : len(solutions) + 1])
    ahead = min(_MOST_AHEAD, (following - last) / (last - before))
    return solutions[-1] + ahead * (solutions[-1] - solutions[-2])
