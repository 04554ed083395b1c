import math

import pytest
import torch
from gravis_kernels.settings import GravisSettings

from gravis_triton.methods import gravis
from gravis_triton.methods.gravis import grouping_metrics


def two_tight_groups(gap_degrees: float) -> torch.Tensor:
    """Two images with three identical views, on the unit circle."""
    angle = math.radians(gap_degrees)
    return torch.tensor([[[1.0, 0.0]] * 3, [[math.cos(angle), math.sin(angle)]] * 3])


def test_tight_groups_have_similar_positives_and_no_active_triplet():
    metrics = grouping_metrics(5 * two_tight_groups(90), GravisSettings(margin=0.5))
    assert metrics["similarity/positives"] == pytest.approx(1.0)
    assert metrics["similarity/negatives"] == pytest.approx(0.0, abs=1e-6)
    assert metrics["active_triplets"] == 0.0


def test_all_triplets_are_active_if_the_gap_is_smaller_than_the_margin():
    assert grouping_metrics(two_tight_groups(30), GravisSettings(margin=0.5))["active_triplets"] == 1.0


def test_half_of_the_triplets_are_active_in_a_hand_made_case():
    z = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [-1.0, 0.0]]])
    # anchors' (positive; negatives): (0; 1, -1), (0; 0, 0), (-1; 1, 0), (-1; -1, 0): active_triplets where n - p > 0
    assert grouping_metrics(z, GravisSettings(margin=0.0))["active_triplets"] == pytest.approx(4 / 8)


def test_uniform_attention_has_entropy_one_and_sharp_attention_entropy_zero():
    z = torch.randn(4, 3, 8, generator=torch.Generator().manual_seed(0))
    assert grouping_metrics(z, GravisSettings(attention="uniform"))["attention_entropy"] == pytest.approx(1.0)
    sharp = GravisSettings(attention="softmax", attention_temperature=1e-4)
    assert grouping_metrics(z, sharp)["attention_entropy"] == pytest.approx(0.0, abs=1e-3)


def test_rank_attention_of_identical_views_is_uniform():
    rank = GravisSettings(attention="rank", negatives="mean", penalty="sigmoid", margin=0.0)
    assert grouping_metrics(two_tight_groups(90), rank)["attention_entropy"] == pytest.approx(1.0, abs=1e-6)


def test_with_two_views_there_is_one_positive_and_no_entropy():
    assert "attention_entropy" not in grouping_metrics(torch.randn(3, 2, 4), GravisSettings())


def test_subsampled_anchors_keep_the_metrics_of_equal_anchors(monkeypatch):
    monkeypatch.setattr(gravis, "_MAX_TRIPLETS", 40)  # two of six anchors
    metrics = grouping_metrics(two_tight_groups(60), GravisSettings(margin=0.4))
    assert metrics["similarity/negatives"] == pytest.approx(0.5, abs=1e-6)
    assert metrics["active_triplets"] == 0.0
