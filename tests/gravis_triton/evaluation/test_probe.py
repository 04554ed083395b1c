"""Logistic regressions are at the optimum that scikit-learn finds in float64."""

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from gravis_triton.evaluation.features import LabeledFeatures
from gravis_triton.evaluation.knn import choose_neighbors
from gravis_triton.evaluation.probe import (
    INVERSE_PENALTIES,
    fit_logistic,
    fit_multilabel_probe,
    fit_probe,
    logistic_problem,
    weight_and_bias,
)


def labeled(features: list[list[float]], labels: list[int]) -> LabeledFeatures:
    return LabeledFeatures(torch.tensor(features), torch.tensor(labels))


def noisy(images: int, dims: int, *, signal: float, seed: int) -> LabeledFeatures:
    """Two classes a `signal` apart along the first of `dims` directions, in noise of deviation 1."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(images) % 2
    features = torch.randn(images, dims, generator=generator)
    features[:, 0] += signal * (labels - 0.5)
    return LabeledFeatures(features, labels)


def test_probe_of_one_feature_is_at_the_optimum():
    # standardized, the features are -1, -1, 1, 1; by symmetry the probability is 1 / (1 + exp(-w x))
    train = labeled([[0.0], [0.0], [4.0], [4.0]], [0, 0, 1, 1])
    probe = fit_probe(train, train, classes=2, scored=[1])
    slope = 2 * (probe.weight[1, 0] - probe.weight[0, 0]).item()  # the deviation of the features is 2
    # d/dw of w^2 / 2 + C * 4 * log(1 + exp(-w)) = w - 4 C / (1 + exp(w))
    assert slope == pytest.approx(4 * probe.inverse_penalty / (1 + math.exp(slope)), rel=1e-3)
    p = probe.probabilities(torch.tensor([[2.0], [4.0]]))
    assert p[0].tolist() == pytest.approx([0.5, 0.5], abs=1e-6)
    assert p[1, 1].item() == pytest.approx(1 / (1 + math.exp(-slope)), rel=1e-6)


def test_probe_balances_rare_classes():
    # nine images of class 0 at 0 and one of class 1 at 1: the boundary lies in the middle, not near the rare one
    train = labeled([[0.0]] * 9 + [[1.0]], [0] * 9 + [1])
    p = fit_probe(train, train, classes=2, scored=[1]).probabilities(torch.tensor([[0.5]]))
    assert p[0, 1].item() == pytest.approx(0.5, abs=1e-3)


def test_probe_is_invariant_to_feature_scale():
    train = labeled([[0.0, 5.0], [1.0, 5.0], [2.0, 5.0], [3.0, 5.0]], [0, 0, 1, 1])
    scaled = LabeledFeatures(train.features * torch.tensor([1e4, 1.0]), train.labels)
    one = fit_probe(train, train, classes=2, scored=[1]).probabilities(train.features)
    other = fit_probe(scaled, scaled, classes=2, scored=[1]).probabilities(scaled.features)
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_penalty_maximizes_the_validation_score():
    # 60 images with 300 features of noise: a strong penalty averages them, a weak one follows the noise
    train, validation = noisy(60, 300, signal=1.5, seed=0), noisy(400, 300, signal=1.5, seed=1)
    probe = fit_probe(train, validation, classes=2, scored=[1])
    assert probe.inverse_penalty < INVERSE_PENALTIES[-1]
    # with features that are nothing but signal all penalties rank alike: the strongest is taken
    clear = labeled([[0.0], [1.0], [5.0], [6.0]], [0, 0, 1, 1])
    assert fit_probe(clear, clear, classes=2, scored=[1]).inverse_penalty == INVERSE_PENALTIES[0]


def test_weak_penalty_is_chosen_if_needed():
    # the class shows in the difference of two features that are otherwise nearly the same
    generator = torch.Generator().manual_seed(0)

    def differing(images: int) -> LabeledFeatures:
        labels = torch.arange(images) % 2
        common = torch.randn(images, generator=generator)
        return LabeledFeatures(torch.stack([common + 0.2 * (labels - 0.5), common], dim=1), labels)

    probe = fit_probe(differing(100), differing(100), classes=2, scored=[1])
    assert probe.inverse_penalty == INVERSE_PENALTIES[-1]


def test_probe_is_not_fitted_to_validation_images():
    train = labeled([[0.0], [1.0], [5.0], [6.0]], [0, 0, 1, 1])
    near, far = labeled([[0.0], [6.0]], [0, 1]), labeled([[-100.0], [100.0]], [0, 1])
    one, other = (fit_probe(train, validation, classes=2, scored=[1]) for validation in (near, far))
    assert torch.equal(one.probabilities(train.features), other.probabilities(train.features))


def test_class_without_training_images_has_probability_0():
    train = labeled([[0.0], [1.0], [5.0], [6.0]], [0, 0, 2, 2])
    p = fit_probe(train, train, classes=4, scored=[2]).probabilities(torch.tensor([[3.0]]))
    assert p[0].tolist() == pytest.approx([0.5, 0, 0.5, 0], abs=1e-6)


def test_probe_of_a_single_class_raises():
    train = labeled([[0.0], [1.0]], [1, 1])
    with pytest.raises(ValueError, match="at least 2 classes"):
        fit_probe(train, train, classes=2, scored=[1])


def on_arc(angles: list[float], labels: list[int]) -> LabeledFeatures:
    return labeled([[math.cos(angle), math.sin(angle)] for angle in angles], labels)


def test_k_maximizes_the_validation_score():
    # clusters of five along an arc, classes alternating: among up to ten neighbors the own cluster is nearer than the
    # one other; among twenty there are two others and part of one more of the own class
    clusters = range(12)
    angles = [0.05 * cluster + 0.001 * image for cluster in clusters for image in range(5)]
    reference = on_arc(angles, [cluster % 2 for cluster in clusters for _ in range(5)])
    inner = clusters[3:9]
    validation = on_arc([0.05 * cluster + 0.002 for cluster in inner], [cluster % 2 for cluster in inner])
    assert choose_neighbors(reference, validation, classes=2, scored=[0, 1]) == 10


def test_k_is_at_most_the_number_of_images():
    few = on_arc([0.0, 1.5], [0, 1])
    assert choose_neighbors(few, few, classes=2, scored=[0, 1]) == 2


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
def test_logistic_regression_agrees_with_scikit_learn(images: int, dim: int, inverse_penalty: float) -> None:
    features, labels = correlated(images, dim, 4, seed=0)
    expected = reference(features, labels, inverse_penalty)
    np.testing.assert_allclose(fitted(features, labels, inverse_penalty), expected, atol=2e-3)


@pytest.mark.parametrize("seed", range(3))
def test_logistic_regression_is_independent_of_the_start(seed: int) -> None:
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


def test_weight_of_a_constant_feature_is_0() -> None:
    features, labels = correlated(100, 6, 3, seed=2)
    features[:, 2] = 0.1
    problem = logistic_problem(features, labels)
    solution = fit_logistic(problem, 1.0, start=problem.no_solution, tolerance=1e-8)
    weight, _ = weight_and_bias(problem, solution)
    assert abs(weight[:, 2]).max() < 1e-5 * abs(weight).max()


def test_several_classes_have_a_probe_each():
    first, second = noisy(80, 4, signal=2.0, seed=0), noisy(80, 4, signal=1.0, seed=1)
    labels = torch.stack([first.labels, torch.zeros_like(first.labels), 1 - second.labels], dim=1)
    train, validation = LabeledFeatures(first.features, labels), LabeledFeatures(second.features, labels)
    probe = fit_multilabel_probe(train, validation)
    p = probe.probabilities(second.features)
    for index in (0, 2):
        column = LabeledFeatures(first.features, labels[:, index])
        alone = fit_probe(column, LabeledFeatures(second.features, labels[:, index]), classes=2, scored=[1])
        assert torch.equal(p[:, index], alone.probabilities(second.features)[:, 1])
        assert probe.inverse_penalty[index] == alone.inverse_penalty
    assert p[:, 1].tolist() == [0.0] * 80  # no training image has it
    assert probe.inverse_penalty[1] is None
