import math

import pytest
import torch
from torch import nn

from gravis_triton.training import Best, ClassLoss, MaskLoss
from gravis_triton.training.finetune import _averaged


def test_balanced_loss_weighs_a_class_by_its_rarity():
    # 3 images of class 0, 1 of class 1: weights 4 / (2 x 3) = 2/3 and 4 / (2 x 1) = 2
    loss = ClassLoss("balanced", torch.tensor([3, 1]))
    logits = torch.tensor([[math.log(3), 0.0], [0.0, 0.0]], dtype=torch.float64)  # p of the truth: 3/4, 1/2
    expected = (2 / 3 * -math.log(3 / 4) + 2 * -math.log(1 / 2)) / (2 / 3 + 2)
    assert loss(logits, torch.tensor([0, 1])).item() == pytest.approx(expected, rel=1e-6)


def test_focal_loss_leaves_out_what_is_certain():
    loss = ClassLoss("focal", torch.tensor([1, 1]))
    logits = torch.tensor([[math.log(3), 0.0], [0.0, 0.0]], dtype=torch.float64)
    expected = (0.25**2 * -math.log(3 / 4) + 0.5**2 * -math.log(1 / 2)) / 2
    assert loss(logits, torch.tensor([0, 1])).item() == pytest.approx(expected, rel=1e-6)


def test_plain_loss_is_cross_entropy():
    logits, labels = torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 0, 1])
    expected = nn.functional.cross_entropy(logits, labels)
    assert torch.allclose(ClassLoss("plain", torch.tensor([3, 2, 1]))(logits, labels), expected)


def test_a_class_without_training_images_has_no_weight():
    assert ClassLoss("balanced", torch.tensor([2, 0, 2])).weight.tolist() == pytest.approx([2 / 3, 0, 2 / 3])


def test_mask_loss_is_cross_entropy_plus_one_minus_dice():
    logits = torch.tensor([[[[0.0, math.log(3)]]]])  # probabilities 1/2, 3/4
    masks = torch.tensor([[[[0.0, 1.0]]]])
    entropy = (math.log(2) - math.log(3 / 4)) / 2
    dice = (2 * 0.75 + 1) / (0.5 + 0.75 + 1 + 1)  # smoothed by 1 above and below
    assert MaskLoss()(logits, masks).item() == pytest.approx(entropy + 1 - dice, rel=1e-5)


def test_the_weights_of_the_highest_score_are_kept():
    network, best = nn.Linear(1, 1), Best()
    kept = None
    for step, score in enumerate([0.5, 0.8, 0.7, 0.8], start=1):
        nn.init.constant_(network.weight, step)
        best.update(score, step, network)
        kept = best.weights["weight"].item()
    assert (best.score, best.step, best.validations_without_improvement, kept) == (0.8, 2, 2, 2.0)


def test_without_any_defined_score_the_first_weights_are_kept_rather_than_none():
    network, best = nn.Linear(1, 1), Best()
    best.update(float("nan"), 1, network)
    best.update(float("nan"), 2, network)
    assert "weight" in best.weights
    assert best.step == 1


def test_a_defined_score_takes_the_place_of_an_undefined_one():
    network, best = nn.Linear(1, 1), Best()
    best.update(float("nan"), 1, network)
    best.update(0.1, 2, network)
    best.update(float("nan"), 3, network)
    assert (best.score, best.step, best.validations_without_improvement) == (0.1, 2, 1)


def test_best_weights_survive_a_checkpoint():
    network, best, again = nn.Linear(1, 1), Best(), Best()
    best.update(0.5, 3, network)
    again.load_state_dict(best.state_dict())
    assert (again.score, again.step) == (0.5, 3)
    assert torch.equal(again.weights["weight"], network.weight)


def test_the_average_follows_the_weights_with_the_documented_decay():
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, 0.0)
    average = _averaged(network, decay=0.5)
    nn.init.constant_(network.weight, 1.0)
    average.update(network, step=2)  # keeps 1 - 2^(-2/3) = 0.370
    assert average.module.weight.item() == pytest.approx(2 ** (-2 / 3), rel=1e-5)
    nn.init.constant_(network.weight, 0.0)
    average.update(network, step=1000)  # keeps the decay
    assert average.module.weight.item() == pytest.approx(0.5 * 2 ** (-2 / 3), rel=1e-5)
