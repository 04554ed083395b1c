"""The losses of BYOL, VICReg and DINO: in float64 against lightly's, and against values worked out by hand."""

import math

import pytest
import torch
import torch.nn.functional as F

from gravis_triton.methods.byol import byol_loss, normalized_std
from gravis_triton.methods.dino import dino_loss
from gravis_triton.methods.vicreg import vicreg_terms


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_byol_is_the_negative_cosine_similarity_of_lightly_for_both_orders_of_two_views():
    loss = pytest.importorskip("lightly.loss").NegativeCosineSimilarity()
    predictions, targets = draw(6, 2, 8), draw(6, 2, 8, seed=1)
    both = loss(predictions[:, 0], targets[:, 1]) + loss(predictions[:, 1], targets[:, 0])
    assert byol_loss(predictions, targets).item() == pytest.approx(2 + both.item(), rel=1e-12)


def test_byol_leaves_out_a_views_own_target():
    # view 0 is orthogonal to the other two, which are equal: cosines 0, 0, 0, 0, 1, 1 over the six pairs
    z = torch.tensor([[[1.0, 0.0], [0.0, 2.0], [0.0, 3.0]]])
    assert byol_loss(z, z).item() == pytest.approx(2 - 2 * 2 / 6)


def test_the_spread_of_embeddings_is_0_after_collapse_and_about_1_on_the_sphere():
    assert normalized_std(torch.ones(5, 2, 16)).item() == pytest.approx(0, abs=1e-6)
    assert normalized_std(draw(500, 2, 64)).item() == pytest.approx(1, abs=0.02)


def test_vicreg_has_the_terms_of_lightly_for_two_views():
    vicreg = pytest.importorskip("lightly.loss.vicreg_loss")
    a, b = draw(12, 6), 0.7 * draw(12, 6, seed=1)
    invariance, variance, covariance = vicreg_terms(torch.stack([a, b], 1))
    assert invariance.item() == pytest.approx(vicreg.invariance_loss(a, b).item(), rel=1e-12)
    expected = 0.5 * (vicreg.variance_loss(a, eps=1e-4) + vicreg.variance_loss(b, eps=1e-4))
    assert variance.item() == pytest.approx(expected.item(), rel=1e-12)
    expected = vicreg.covariance_loss(a) + vicreg.covariance_loss(b)
    assert covariance.item() == pytest.approx(expected.item(), rel=1e-12)


def test_vicreg_of_a_case_worked_out_by_hand():
    # two images, views (0, 0), (2, 0) and (0, 0), (2, 0): they agree; variances 2 and 0, covariances 0
    z = torch.tensor([[[0.0, 0.0], [0.0, 0.0]], [[2.0, 0.0], [2.0, 0.0]]], dtype=torch.float64)
    invariance, variance, covariance = vicreg_terms(z)
    assert (invariance.item(), covariance.item()) == (0, 0)
    assert variance.item() == pytest.approx((0 + 1 - math.sqrt(1e-4)) / 2)
    # perfectly correlated dimensions: Cov = 2 everywhere, so 2 views x (2^2 + 2^2) / dim 2 = 8
    assert vicreg_terms(z[..., [0, 0]])[2].item() == pytest.approx(8)


def test_vicreg_of_three_views_averages_the_squared_distance_of_their_pairs():
    z = draw(5, 3, 4)
    pairs = [(z[:, i] - z[:, j]).square().mean() for i, j in [(0, 1), (0, 2), (1, 2)]]
    assert vicreg_terms(z)[0].item() == pytest.approx(torch.stack(pairs).mean().item(), rel=1e-12)


def test_dino_is_the_loss_of_lightly():
    lightly = pytest.importorskip("lightly.loss")
    teacher, student = draw(5, 2, 7), draw(5, 6, 7, seed=1)
    # lightly keeps temperatures in float32: those that are powers of two stay exact
    loss = lightly.DINOLoss(7, warmup_teacher_temp=0.0625, teacher_temp=0.0625, student_temp=0.125).double()
    expected = loss(list(teacher.unbind(1)), list(student.unbind(1)), epoch=0)  # its center starts at 0
    targets = (teacher / 0.0625).softmax(-1)
    assert dino_loss(student, targets, 0.125).item() == pytest.approx(expected.item(), rel=1e-12)


def test_dino_compares_each_view_with_the_other_large_views():
    # one image, two large views and a small one; the targets are certain of class 0
    student = torch.tensor([[[0.0, 0.0], [math.log(3), 0.0], [0.0, math.log(3)]]], dtype=torch.float64)
    targets = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]], dtype=torch.float64)
    # -log p of class 0: log 2, log 4/3, log 4; pairs: (0, 1), (0, small), (1, 0), (1, small)
    expected = (math.log(4 / 3) + math.log(4) + math.log(2) + math.log(4)) / 4
    assert dino_loss(student, targets, 1.0).item() == pytest.approx(expected)


def test_dino_is_least_if_the_student_agrees_with_the_teacher():
    targets = draw(4, 2, 5).softmax(-1)
    agreeing = targets.log()[:, :1].expand(-1, 2, -1)
    same = targets[:, :1].expand(-1, 2, -1)
    entropy = -(same * same.log()).sum(-1).mean()
    assert dino_loss(agreeing, same, 1.0).item() == pytest.approx(entropy.item(), rel=1e-12)
    assert dino_loss(F.relu(draw(4, 2, 5, seed=2)), same, 1.0).item() > entropy.item()
