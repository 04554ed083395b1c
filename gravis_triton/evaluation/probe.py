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
_TO_CHOOSE, _TO_SCORE = 1e-5, 1e-8  # tolerances: while C is being chosen, and of the probe that is returned
_MOST_AHEAD = 1.5  # of the last step along the penalties


@dataclass(frozen=True, slots=True)
class LinearProbe:
    """weight (known classes, dim) and bias (known classes,), float64: the logits of the classes `known` in training.
    inverse_penalty: the C of its logistic regression, chosen on the validation set. classes: number of all."""

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
    """A multinomial logistic regression on the training features, standardized by their own mean and deviation.

    It minimizes |w|^2 / 2 + C * sum of the log-losses, each weighted inversely to the frequency of its class; two
    classes share one w, as in scikit-learn. C has the highest `selection_score` on the validation set; the smallest of
    equal ones. The probe is not refitted on training and validation images together. progress: called with (done,
    total) probes.
    Raises ValueError where all training images are of one class.
    """
    known, labels = train.labels.unique(return_inverse=True)
    if len(known) < 2:
        raise ValueError(f"a probe needs training images of at least 2 classes, not of {len(known)}")
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
    # w = w_1 - w_0 of two classes with w_1 = -w_0 = w / 2 has the penalty |w|^2 / 4
    factor = 0.5 if problem.targets.shape[1] == 2 else 1.0
    return fit_logistic(problem, factor * inverse_penalty, start=start, tolerance=tolerance)


def _start(problem: LogisticProblem, solutions: Sequence[Floats]) -> Floats:
    """Where the next solution is looked for: on the straight line through the last two against log C."""
    if len(solutions) < 2:
        return solutions[-1] if solutions else problem.no_solution
    before, last, following = map(math.log, INVERSE_PENALTIES[len(solutions) - 2 : len(solutions) + 1])
    ahead = min(_MOST_AHEAD, (following - last) / (last - before))
    return solutions[-1] + ahead * (solutions[-1] - solutions[-2])
