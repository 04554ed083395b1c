import math

import pytest
import torch

from gravis_triton.evaluation import knn_probabilities, knn_scores


def test_votes_weigh_by_similarity_and_by_the_rarity_of_the_class():
    # two neighbors of class 0 at cosines 1 and 0.6, one of class 1 at 0.8; class 0 has two of three reference images
    reference = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.8, -0.6]])
    labels = torch.tensor([0, 0, 1])
    p = knn_probabilities(
        reference, labels, torch.tensor([[2.0, 0.0]]), classes=2, neighbors=3, temperature=0.5
    )
    zero = (math.exp(1.0 / 0.5) + math.exp(0.6 / 0.5)) / 2
    one = math.exp(0.8 / 0.5) / 1
    assert p[0].tolist() == pytest.approx([zero / (zero + one), one / (zero + one)], rel=1e-5)


def test_only_the_nearest_neighbors_vote():
    reference = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
    p = knn_probabilities(
        reference, torch.tensor([0, 0, 1]), torch.tensor([[1.0, 0.0]]), classes=2, neighbors=2
    )
    assert p[0].tolist() == [1.0, 0.0]


def test_scores_of_a_hand_made_case():
    # queries lie on the axes of the reference features: predictions 0, 1, 1, 2 for labels 0, 0, 1, 2
    reference, reference_labels = torch.eye(3), torch.tensor([0, 1, 2])
    queries = torch.tensor([[1.0, 0.1, 0], [0, 1.0, 0.1], [0, 1.0, 0.1], [0.1, 0, 1.0]])
    scores = knn_scores(
        reference, reference_labels, queries, torch.tensor([0, 0, 1, 2]), classes=3, scored=[0, 2]
    )
    assert scores.balanced_accuracy == pytest.approx((1 / 2 + 1 + 1) / 3)
    # class 0: its queries score 1 and ~0 against ~0 (a tie broken downwards) and ~0.1: pairs won 1, 1, 1/2, 0
    assert scores.mean_auc == pytest.approx((2.5 / 4 + 1.0) / 2)


def test_a_class_without_examples_has_no_auc():
    reference = torch.eye(2)
    scores = knn_scores(
        reference, torch.tensor([0, 1]), reference, torch.tensor([0, 0]), classes=2, scored=[0, 1]
    )
    assert math.isnan(scores.mean_auc)
