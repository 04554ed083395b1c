"""Multinomial logistic regression with an L2 penalty, fast enough for 100,000 images and many penalties.

Along the eigenvectors of the features' covariance, each scaled by its eigenvalue, the Hessian is nearly the identity:
L-BFGS takes tens of steps instead of hundreds on standardized features. Features are float32 and read once per step.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

Floats = NDArray[np.floating[Any]]

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


def fit_logistic(
    problem: LogisticProblem, inverse_penalty: float, *, start: Floats, tolerance: float
) -> Floats:
    """The solution (classes, rank + 1), float64, that minimizes |w|^2 / 2 + C * sum of the weighted log-losses.

    w are the weights of the standardized features; the bias is not penalized. Stops when a step lowers the objective
    by less than `tolerance` * C * images.
    """
    penalized, images = problem.penalized, len(problem.rows)
    scale = 1 / np.sqrt(penalized + inverse_penalty * problem.curvature)

    def objective(scaled: Floats) -> tuple[float, Floats]:
        solution = scaled.reshape(start.shape) * scale
        loss, slope = _log_loss(problem, solution)
        penalty = penalized * solution / inverse_penalty
        value = loss + (penalty * solution).sum() / 2
        return value / images, ((slope + penalty) * scale).ravel() / images

    options = {"maxiter": _MAX_STEPS, "ftol": tolerance, "gtol": 0}
    found = minimize(objective, (start / scale).ravel(), jac=True, method="L-BFGS-B", options=options)
    return found.x.reshape(start.shape) * scale


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
