import math

import pytest
import torch

from gravis_triton.evaluation import LabeledFeatures, choose_neighbors, fit_probe
from gravis_triton.evaluation.probe import INVERSE_PENALTIES


def labeled(features: list[list[float]], labels: list[int]) -> LabeledFeatures:
    return LabeledFeatures(torch.tensor(features), torch.tensor(labels))


def noisy(images: int, dims: int, *, signal: float, seed: int) -> LabeledFeatures:
    """Two classes a `signal` apart along the first of `dims` directions, in noise of deviation 1."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(images) % 2
    features = torch.randn(images, dims, generator=generator)
    features[:, 0] += signal * (labels - 0.5)
    return LabeledFeatures(features, labels)


def test_a_probe_of_one_feature_satisfies_the_conditions_of_the_optimum():
    # standardized, the features are -1, -1, 1, 1; by symmetry the probability is 1 / (1 + exp(-w x))
    train = labeled([[0.0], [0.0], [4.0], [4.0]], [0, 0, 1, 1])
    probe = fit_probe(train, train, classes=2, scored=[1])
    slope = 2 * (probe.weight[1, 0] - probe.weight[0, 0]).item()  # the deviation of the features is 2
    # d/dw of w^2 / 2 + C * 4 * log(1 + exp(-w)) = w - 4 C / (1 + exp(w))
    assert slope == pytest.approx(4 * probe.inverse_penalty / (1 + math.exp(slope)), rel=1e-3)
    p = probe.probabilities(torch.tensor([[2.0], [4.0]]))
    assert p[0].tolist() == pytest.approx([0.5, 0.5], abs=1e-6)
    assert p[1, 1].item() == pytest.approx(1 / (1 + math.exp(-slope)), rel=1e-6)


def test_classes_are_balanced_however_rare_one_is():
    # nine images of class 0 at 0 and one of class 1 at 1: the boundary lies in the middle, not near the rare one
    train = labeled([[0.0]] * 9 + [[1.0]], [0] * 9 + [1])
    p = fit_probe(train, train, classes=2, scored=[1]).probabilities(torch.tensor([[0.5]]))
    assert p[0, 1].item() == pytest.approx(0.5, abs=1e-3)


def test_the_scale_of_a_feature_does_not_matter_and_a_constant_one_is_harmless():
    train = labeled([[0.0, 5.0], [1.0, 5.0], [2.0, 5.0], [3.0, 5.0]], [0, 0, 1, 1])
    scaled = LabeledFeatures(train.features * torch.tensor([1e4, 1.0]), train.labels)
    one = fit_probe(train, train, classes=2, scored=[1]).probabilities(train.features)
    other = fit_probe(scaled, scaled, classes=2, scored=[1]).probabilities(scaled.features)
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_the_penalty_is_the_best_on_the_validation_images():
    # 60 images with 300 features of noise: a strong penalty averages them, a weak one follows the noise
    train, validation = noisy(60, 300, signal=1.5, seed=0), noisy(400, 300, signal=1.5, seed=1)
    probe = fit_probe(train, validation, classes=2, scored=[1])
    assert probe.inverse_penalty < INVERSE_PENALTIES[-1]
    # with features that are nothing but signal all penalties rank alike: the strongest is taken
    clear = labeled([[0.0], [1.0], [5.0], [6.0]], [0, 0, 1, 1])
    assert fit_probe(clear, clear, classes=2, scored=[1]).inverse_penalty == INVERSE_PENALTIES[0]


def test_a_weak_penalty_is_chosen_where_only_it_finds_the_class():
    # the class shows in the difference of two features that are otherwise nearly the same
    generator = torch.Generator().manual_seed(0)

    def differing(images: int) -> LabeledFeatures:
        labels = torch.arange(images) % 2
        common = torch.randn(images, generator=generator)
        return LabeledFeatures(torch.stack([common + 0.2 * (labels - 0.5), common], dim=1), labels)

    probe = fit_probe(differing(100), differing(100), classes=2, scored=[1])
    assert probe.inverse_penalty == INVERSE_PENALTIES[-1]


def test_validation_images_only_choose_and_are_not_fitted_to():
    train = labeled([[0.0], [1.0], [5.0], [6.0]], [0, 0, 1, 1])
    near, far = labeled([[0.0], [6.0]], [0, 1]), labeled([[-100.0], [100.0]], [0, 1])
    one, other = (fit_probe(train, validation, classes=2, scored=[1]) for validation in (near, far))
    assert torch.equal(one.probabilities(train.features), other.probabilities(train.features))


def test_a_class_without_training_images_gets_probability_0():
    train = labeled([[0.0], [1.0], [5.0], [6.0]], [0, 0, 2, 2])
    p = fit_probe(train, train, classes=4, scored=[2]).probabilities(torch.tensor([[3.0]]))
    assert p[0].tolist() == pytest.approx([0.5, 0, 0.5, 0], abs=1e-6)


def test_one_class_alone_raises():
    train = labeled([[0.0], [1.0]], [1, 1])
    with pytest.raises(ValueError, match="at least 2 classes"):
        fit_probe(train, train, classes=2, scored=[1])


def on_arc(angles: list[float], labels: list[int]) -> LabeledFeatures:
    return labeled([[math.cos(angle), math.sin(angle)] for angle in angles], labels)


def test_k_is_the_best_on_the_validation_images():
    # clusters of five along an arc, classes alternating: among up to ten neighbors the own cluster is nearer than the
    # one other; among twenty there are two others and part of one more of the own class
    clusters = range(12)
    angles = [0.05 * cluster + 0.001 * image for cluster in clusters for image in range(5)]
    reference = on_arc(angles, [cluster % 2 for cluster in clusters for _ in range(5)])
    inner = clusters[3:9]
    validation = on_arc([0.05 * cluster + 0.002 for cluster in inner], [cluster % 2 for cluster in inner])
    assert choose_neighbors(reference, validation, classes=2, scored=[0, 1]) == 10


def test_there_are_no_more_neighbors_than_images():
    few = on_arc([0.0, 1.5], [0, 1])
    assert choose_neighbors(few, few, classes=2, scored=[0, 1]) == 2
