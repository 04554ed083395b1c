"""A linear probe on frozen features: logistic regression by L-BFGS in a basis in which it takes few steps.

Along the eigenvectors of the features' covariance, each scaled by its eigenvalue, the Hessian is nearly the identity:
L-BFGS takes tens of steps instead of hundreds on standardized features. Features are float32 and read once per step.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

from gravis_triton.evaluation.classification import selection_score
from gravis_triton.evaluation.features import LabeledFeatures

Floats = NDArray[np.floating[Any]]

INVERSE_PENALTIES = (1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 1.0)
"""Values of C that `fit_probe` tries; small ones suit many features and few images."""
_TO_CHOOSE, _TO_SCORE = 1e-5, 1e-8  # tolerances while choosing C and for the returned probe
_MOST_AHEAD = 1.5  # maximum extrapolation, in units of the last step in log C
_BLOCK = 64  # images whose features stay in the CPU cache between the logits and the gradient
_MAX_STEPS = 1000
_ROUNDING = 1e-6  # a feature whose deviation is below this fraction of its mean is constant


@dataclass(frozen=True, slots=True)
class LogisticProblem:
    """rows (images, rank + 1): standardized features along the columns of `basis` (dim, rank), and 1 for the bias.
    targets (images, classes): one-hot. weights (images, 1): of the log-losses. penalized (rank + 1,): 1, and 0 for the
    bias. curvature (rank + 1,): estimate of the second derivative of the summed log-losses along each column. mean,
    deviation (dim,): for standardizing features."""

    rows: Floats
    targets: Floats
    weights: Floats
    penalized: Floats
    curvature: Floats
    basis: Floats
    mean: Floats
    deviation: Floats

    @property
    def no_solution(self) -> Floats:
        """Zeros in the shape of a solution, (classes, rank + 1)."""
        return np.zeros((self.targets.shape[1], self.rows.shape[1]))


def logistic_problem(features: Floats, labels: NDArray[np.int64]) -> LogisticProblem:
    """The problem for features (images, dim) float32 and labels 0 to classes - 1, each with at least one image.

    Features are standardized by their mean and standard deviation. Each log-loss is weighted inversely to the frequency
    of its class; the mean weight is 1.
    """
    images, dim = features.shape
    counts = np.bincount(labels)
    weights = (images / (len(counts) * counts))[labels].astype(np.float32)
    mean = features.mean(0, dtype=np.float64)
    rows = features - mean.astype(np.float32)
    deviation = np.sqrt(np.square(rows).mean(0, dtype=np.float64))
    deviation[deviation <= _ROUNDING * abs(mean)] = 1
    rows /= deviation.astype(np.float32)
    shift = weights @ rows / images
    rows -= shift  # a shift only changes the bias; after this one, weight and bias hardly interact

    # with fewer images than features, the solution lies in the span of the images
    span = np.linalg.qr(rows.T)[0] if images < dim else None
    if span is not None:
        rows = rows @ span
    variances, vectors = np.linalg.eigh((weights[:, None] * rows).T @ rows)
    uniform = 1 / len(counts)
    rotated = np.ones((images, len(variances) + 1), dtype=np.float32)
    np.matmul(rows, vectors, out=rotated[:, :-1])
    return LogisticProblem(
        rows=rotated,
        targets=np.eye(len(counts), dtype=np.float32)[labels],
        weights=weights[:, None],
        penalized=np.append(np.ones(len(variances)), 0.0),
        curvature=uniform * (1 - uniform) * np.append(variances.clip(min=0), images).astype(np.float64),
        basis=vectors if span is None else span @ vectors,
        mean=mean + shift * deviation,
        deviation=deviation,
    )


def fit_logistic(problem: LogisticProblem, inverse_penalty: float, *, start: Floats, tolerance: float) -> Floats:
    """The solution (classes, rank + 1), float64, that minimizes |w|^2 / 2 + C * sum of the weighted log-losses.

    w are the weights of the standardized features; the bias is not penalized. Two classes share one w, w_1 - w_0.
    Stops when a step lowers the objective by less than `tolerance` * C * images.
    """
    if len(start) == 2:  # w_1 = -w_0 = w / 2 have the penalty |w|^2 / 4
        inverse_penalty /= 2
    penalized, images = problem.penalized, len(problem.rows)
    scale = 1 / np.sqrt(penalized + inverse_penalty * problem.curvature)

    def objective(scaled: Floats) -> tuple[float, Floats]:
        solution = scaled.reshape(start.shape) * scale
        loss, slope = _log_loss(problem, solution)
        penalty = penalized * solution / inverse_penalty
        value = loss + (penalty * solution).sum() / 2
        return value / images, ((slope + penalty) * scale).ravel() / images

    options = {"maxiter": _MAX_STEPS, "ftol": tolerance, "gtol": 0}
    result = minimize(objective, (start / scale).ravel(), jac=True, method="L-BFGS-B", options=options)
    return result.x.reshape(start.shape) * scale


def _log_loss(problem: LogisticProblem, solution: Floats) -> tuple[float, Floats]:
    """The sum of the weighted log-losses and its gradient, (classes, rank + 1)."""
    columns = solution.T.astype(np.float32)
    loss, gradient = 0.0, np.zeros(solution.shape, dtype=np.float32)
    for begin in range(0, len(problem.rows), _BLOCK):
        block = slice(begin, begin + _BLOCK)
        rows, targets, weights = problem.rows[block], problem.targets[block], problem.weights[block]
        logits = rows @ columns
        logits -= logits.max(1, keepdims=True)
        odds = np.exp(logits)
        total = odds.sum(1, keepdims=True)
        loss += float((weights * (np.log(total) - (logits * targets).sum(1, keepdims=True))).sum())
        gradient += (weights * (odds / total - targets)).T @ rows
    return loss, gradient.astype(np.float64)


def weight_and_bias(problem: LogisticProblem, solution: Floats) -> tuple[Floats, Floats]:
    """The solution for raw features: logits = features @ weight.T + bias; (classes, dim) and (classes,)."""
    weight = solution[:, :-1] @ problem.basis.T.astype(np.float64) / problem.deviation
    return weight, solution[:, -1] - weight @ problem.mean


@dataclass(frozen=True, slots=True)
class LinearProbe:
    """weight (classes, dim) and bias (classes,), float64, of the logits; the bias of a class without training images is
    minus infinity. inverse_penalty: C of the logistic regression, chosen on the validation set; None if nothing was
    fitted."""

    weight: Tensor
    bias: Tensor
    inverse_penalty: float | None

    def probabilities(self, features: Tensor) -> Tensor:
        """(images, classes) float64; 0 for a class without training images."""
        return (features.double() @ self.weight.T + self.bias).softmax(dim=1)


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
        weight = torch.zeros(classes, train.features.shape[1], dtype=torch.float64)
        bias = torch.full((classes,), -math.inf, dtype=torch.float64)
        weight[known], bias[known] = map(torch.from_numpy, weight_and_bias(problem, solution))
        return LinearProbe(weight, bias, inverse_penalty)

    solutions: list[Floats] = []
    scores: list[float] = []
    for inverse_penalty in INVERSE_PENALTIES:
        start = _start(problem, solutions)
        solutions.append(fit_logistic(problem, inverse_penalty, start=start, tolerance=_TO_CHOOSE))
        p = probe_of(solutions[-1], inverse_penalty).probabilities(validation.features).numpy()
        scores.append(selection_score(p, validation.labels.numpy(), scored))
        if progress is not None:
            progress(len(solutions), len(INVERSE_PENALTIES))
    best = int(np.argmax(scores))
    inverse_penalty = INVERSE_PENALTIES[best]
    solution = fit_logistic(problem, inverse_penalty, start=solutions[best], tolerance=_TO_SCORE)
    return probe_of(solution, inverse_penalty)


@dataclass(frozen=True, slots=True)
class MultilabelProbe:
    """probes: of the decision between no and yes for each class."""

    probes: tuple[LinearProbe, ...]

    @property
    def inverse_penalty(self) -> list[float | None]:
        """C for each class."""
        return [probe.inverse_penalty for probe in self.probes]

    def probabilities(self, features: Tensor) -> Tensor:
        """(images, classes) float64."""
        return torch.stack([probe.probabilities(features)[:, 1] for probe in self.probes], dim=1)


def fit_multilabel_probe(
    train: LabeledFeatures, validation: LabeledFeatures, *, progress: Callable[[int, int], None] | None = None
) -> MultilabelProbe:
    """`fit_probe` for each column of labels (images, classes), with its own C; where all training images have the same
    label, the probability is that label. progress: called with (done, total) classes."""
    probes: list[LinearProbe] = []
    for column, known in zip(train.labels.unbind(1), validation.labels.unbind(1), strict=True):
        if column.min() == column.max():
            bias = torch.where(torch.arange(2) == column[0], 0.0, -math.inf).double()
            probes.append(LinearProbe(torch.zeros(2, train.features.shape[1], dtype=torch.float64), bias, None))
        else:
            parts = LabeledFeatures(train.features, column), LabeledFeatures(validation.features, known)
            probes.append(fit_probe(*parts, classes=2, scored=[1]))
        if progress is not None:
            progress(len(probes), train.labels.shape[1])
    return MultilabelProbe(tuple(probes))


def _start(problem: LogisticProblem, solutions: Sequence[Floats]) -> Floats:
    """Initial guess for the next solution: the last two, extrapolated linearly in log C."""
    if len(solutions) < 2:
        return solutions[-1] if solutions else problem.no_solution
    before, last, following = map(math.log, INVERSE_PENALTIES[len(solutions) - 2 : len(solutions) + 1])
    ahead = min(_MOST_AHEAD, (following - last) / (last - before))
    return solutions[-1] + ahead * (solutions[-1] - solutions[-2])
