"""Logistic regressions are at the optimum that scikit-learn finds in float64."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from gravis_triton.evaluation.logistic import fit_logistic, logistic_problem, weight_and_bias


def correlated(images: int, dim: int, classes: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features whose variances span six powers of ten, far from 0, and labels of unequal frequency that they tell."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(dim, dim)) * np.logspace(0, -3, dim)
    features = (rng.normal(size=(images, dim)) @ mixing.T + 5).astype(np.float32)
    logits = StandardScaler().fit_transform(features) @ rng.normal(size=(dim, classes)) / dim**0.5
    labels = (logits - np.arange(classes) + rng.gumbel(size=(images, classes))).argmax(1)
    labels[:classes] = np.arange(classes)
    return features, labels


def reference(features: np.ndarray, labels: np.ndarray, inverse_penalty: float) -> np.ndarray:
    standardized = StandardScaler().fit_transform(features.astype(np.float64))
    model = LogisticRegression(C=inverse_penalty, class_weight="balanced", tol=1e-9, max_iter=100_000)
    return model.fit(standardized, labels).predict_proba(standardized)


def probabilities(features: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    logits = features.astype(np.float64) @ weight.T + bias
    odds = np.exp(logits - logits.max(1, keepdims=True))
    return odds / odds.sum(1, keepdims=True)


def objective(features: np.ndarray, labels: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> float:
    """Mean log-loss, weighted by class, and the penalty of the weights of standardized features; C = 0.1."""
    counts = np.bincount(labels)
    losses = -np.log(probabilities(features, weight, bias)[np.arange(len(labels)), labels])
    penalty = np.square(weight * features.std(0, dtype=np.float64)).sum() / 2
    return float((losses / counts[labels]).sum() / len(counts) + penalty / 0.1 / len(labels))


def fitted(features: np.ndarray, labels: np.ndarray, inverse_penalty: float) -> np.ndarray:
    problem = logistic_problem(features, labels)
    solution = fit_logistic(problem, inverse_penalty, start=problem.no_solution, tolerance=1e-9)
    return probabilities(features, *weight_and_bias(problem, solution))


@pytest.mark.parametrize("inverse_penalty", [1e-5, 1e-3, 0.1, 1.0])
@pytest.mark.parametrize(("images", "dim"), [(500, 40), (150, 150), (60, 300), (63, 5), (65, 5)])
def test_the_probabilities_are_those_of_the_optimum(images: int, dim: int, inverse_penalty: float) -> None:
    features, labels = correlated(images, dim, 4, seed=0)
    expected = reference(features, labels, inverse_penalty)
    np.testing.assert_allclose(fitted(features, labels, inverse_penalty), expected, atol=2e-3)


@pytest.mark.parametrize("seed", range(3))
def test_the_start_does_not_matter(seed: int) -> None:
    """The objective is flat at its minimum, where float32 leaves weights free but neither it nor probabilities."""
    features, labels = correlated(300, 30, 3, seed=seed)
    problem = logistic_problem(features, labels)
    far = np.random.default_rng(0).normal(size=problem.no_solution.shape)
    one, other = (
        weight_and_bias(problem, fit_logistic(problem, 0.1, start=start, tolerance=1e-9))
        for start in (problem.no_solution, far)
    )
    assert objective(features, labels, *one) == pytest.approx(objective(features, labels, *other), abs=1e-6)
    np.testing.assert_allclose(probabilities(features, *one), probabilities(features, *other), atol=2e-3)


def test_the_weight_of_a_constant_feature_is_0() -> None:
    features, labels = correlated(100, 6, 3, seed=2)
    features[:, 2] = 0.1
    problem = logistic_problem(features, labels)
    solution = fit_logistic(problem, 1.0, start=problem.no_solution, tolerance=1e-8)
    weight, _ = weight_and_bias(problem, solution)
    assert abs(weight[:, 2]).max() < 1e-5 * abs(weight).max()
