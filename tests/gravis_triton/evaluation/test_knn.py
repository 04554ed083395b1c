import math

import numpy as np
import pytest
import torch
from torch import nn

from gravis_triton.data import Collection, Record
from gravis_triton.evaluation import knn
from gravis_triton.evaluation.features import LabeledFeatures, extract_features
from gravis_triton.evaluation.knn import knn_probabilities, knn_scores, score_encoder


def test_knn_votes_are_weighted_by_similarity_and_class_rarity():
    # two neighbors of class 0 at cosines 1 and 0.6, one of class 1 at 0.8; class 0 has two of three reference images
    reference = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.8, -0.6]])
    labels = torch.tensor([0, 0, 1])
    known = LabeledFeatures(reference, labels)
    p = knn_probabilities(known, torch.tensor([[2.0, 0.0]]), classes=2, neighbors=3)
    zero = (math.exp(1.0 / 0.07) + math.exp(0.6 / 0.07)) / 2
    one = math.exp(0.8 / 0.07) / 1
    assert p[0].tolist() == pytest.approx([zero / (zero + one), one / (zero + one)], rel=1e-5)


def test_only_the_nearest_neighbors_vote():
    reference = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
    known = LabeledFeatures(reference, torch.tensor([0, 0, 1]))
    p = knn_probabilities(known, torch.tensor([[1.0, 0.0]]), classes=2, neighbors=2)
    assert p[0].tolist() == [1.0, 0.0]


def test_one_search_for_several_k_equals_a_search_for_each():
    # features on a grid: most similarities occur several times, in both classes
    generator = torch.Generator().manual_seed(0)
    reference = torch.randint(-1, 2, (400, 4), generator=generator).float()
    queries = torch.randint(-1, 2, (50, 4), generator=generator).float()
    known = LabeledFeatures(reference, torch.randint(2, (400,), generator=generator))
    numbers = (1, 2, 5, 20, 100)
    together = knn._probabilities(known, queries, 2, numbers)
    for number, p in zip(numbers, together, strict=True):
        alone = knn_probabilities(known, queries, classes=2, neighbors=number)
        assert torch.equal(p, alone)


def test_knn_scores_of_a_hand_computed_case():
    # queries lie on the axes of the reference features: predictions 0, 1, 1, 2 for labels 0, 0, 1, 2
    reference, reference_labels = torch.eye(3), torch.tensor([0, 1, 2])
    queries = torch.tensor([[1.0, 0.1, 0], [0, 1.0, 0.1], [0, 1.0, 0.1], [0.1, 0, 1.0]])
    known, tested = LabeledFeatures(reference, reference_labels), LabeledFeatures(queries, torch.tensor([0, 0, 1, 2]))
    scores = knn_scores(known, tested, classes=3, scored=[0, 2])
    assert scores.balanced_accuracy == pytest.approx((1 / 2 + 1 + 1) / 3)
    # class 0: its queries score 1 and ~0 against ~0 (a tie broken downwards) and ~0.1: pairs won 1, 1, 1/2, 0
    assert scores.mean_auc == pytest.approx((2.5 / 4 + 1.0) / 2)


def test_class_without_queries_has_no_auc():
    known, tested = (LabeledFeatures(torch.eye(2), torch.tensor(labels)) for labels in ([0, 1], [0, 0]))
    scores = knn_scores(known, tested, classes=2, scored=[0, 1])
    assert math.isnan(scores.mean_auc)


class MeanColor(nn.Module):
    """An encoder that reports each channel's mean, and counts as a timm model with ImageNet normalization."""

    pretrained_cfg = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5), "input_size": (3, 8, 8)}  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self.modes: list[bool] = []

    def forward(self, images):
        self.modes.append(self.training)
        return images.mean((2, 3))


def flat(color: tuple[int, int, int], height: int = 8, width: int = 12) -> np.ndarray:
    return np.full((height, width, 3), color, np.uint8)


RED, GREEN = (255, 0, 0), (0, 255, 0)


def collection(labels: list[int | None]) -> Collection:
    records = tuple(Record(id=str(i), image=None, label=label) for i, label in enumerate(labels))  # type: ignore[arg-type]
    return Collection("toy", records, ("red", "green"))


def test_features_are_of_normalized_pixels_in_evaluation_mode():
    encoder = MeanColor().train()
    features = extract_features(encoder, [flat(RED), flat(GREEN)], [1, 0], size=8, device=torch.device("cpu"))
    assert features.tolist() == [pytest.approx([-1.0, 1.0, -1.0]), pytest.approx([1.0, -1.0, -1.0])]
    assert encoder.modes == [False]
    assert encoder.training


def test_separating_encoder_scores_1():
    images = [flat(RED), flat(GREEN), flat(RED), flat(GREEN)]
    scores = score_encoder(
        MeanColor(), collection([0, 1, 0, 1]), images, [0, 1], [2, 3], size=8, device=torch.device("cpu")
    )
    assert scores is not None
    assert (scores.balanced_accuracy, scores.mean_auc) == (1.0, 1.0)


def test_unlabeled_images_are_not_scored():
    images = [flat(RED), flat(GREEN), flat(GREEN), flat(RED)]
    device = torch.device("cpu")
    labeled = score_encoder(MeanColor(), collection([0, 1, None, 0]), images, [0, 1, 2], [3], size=8, device=device)
    assert labeled is not None
    assert labeled.balanced_accuracy == 1.0
    nothing = score_encoder(MeanColor(), collection([None] * 4), images, [0, 1], [2, 3], size=8, device=device)
    assert nothing is None


def test_limit_samples_both_sets_and_keeps_every_class():
    images = [flat(RED)] * 90 + [flat(GREEN)] * 10
    device, encoded = torch.device("cpu"), []
    scores = score_encoder(
        MeanColor(),
        collection([0] * 90 + [1] * 10),
        images,
        range(0, 100, 2),
        range(1, 100, 2),
        size=8,
        device=device,
        at_most=10,
        progress=lambda done, total: encoded.append((done, total)),
    )
    assert scores is not None
    assert (scores.images, scores.balanced_accuracy) == (10, 1.0)  # 9 red, 1 green
    assert encoded == [(20, 20)]


def test_labels_of_several_classes_are_averaged_over_the_neighbors():
    # cosines 1, 0.6 and 0.8; both of the first class with the nearest, none of the others
    reference = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.8, -0.6]])
    known = LabeledFeatures(reference, torch.tensor([[1, 0], [1, 1], [0, 0]]))
    query = torch.tensor([[2.0, 0.0]])
    p = knn_probabilities(known, query, classes=2, neighbors=3)
    first, second, third = (math.exp(cosine / 0.07) for cosine in (1.0, 0.6, 0.8))
    total = first + second + third
    assert p[0].tolist() == pytest.approx([(first + second) / total, second / total], rel=1e-5)
    assert knn_probabilities(known, query, classes=2, neighbors=1)[0].tolist() == [1.0, 0.0]
