"""The classifier and its loss."""

import math

import pytest
import torch
from torch import nn

from gravis_triton.data import Collection, Record, Split
from gravis_triton.models import build_encoder, normalization
from gravis_triton.settings.jobs import ClassificationSettings
from gravis_triton.tasks.base import AnnotatedData
from gravis_triton.tasks.classification import ClassificationTask, Classifier, ClassLoss, repeat_rare_classes


def test_classifier_is_linear_in_the_features():
    torch.manual_seed(0)
    encoder = build_encoder("test_resnet", image_size=32)
    network = Classifier(encoder, classes=3).eval()
    images = torch.rand(2, 3, 32, 32)
    features = encoder.eval()(images)
    expected = features @ network.classifier.weight.T + network.classifier.bias
    assert torch.allclose(network(images), expected, atol=1e-6)
    assert normalization(network) == normalization(encoder)


def test_balanced_loss_weights_classes_by_rarity():
    # 3 images of class 0, 1 of class 1: weights 4 / (2 x 3) = 2/3 and 4 / (2 x 1) = 2
    loss = ClassLoss("balanced", torch.tensor([3, 1]))
    logits = torch.tensor([[math.log(3), 0.0], [0.0, 0.0]], dtype=torch.float64)  # p of the truth: 3/4, 1/2
    expected = (2 / 3 * -math.log(3 / 4) + 2 * -math.log(1 / 2)) / (2 / 3 + 2)
    assert loss(logits, torch.tensor([0, 1])).item() == pytest.approx(expected, rel=1e-6)


def test_focal_loss_discounts_confident_predictions():
    loss = ClassLoss("focal", torch.tensor([1, 1]))
    logits = torch.tensor([[math.log(3), 0.0], [0.0, 0.0]], dtype=torch.float64)
    expected = (0.25**2 * -math.log(3 / 4) + 0.5**2 * -math.log(1 / 2)) / 2
    assert loss(logits, torch.tensor([0, 1])).item() == pytest.approx(expected, rel=1e-6)


def test_plain_loss_is_cross_entropy():
    logits, labels = torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 0, 1])
    expected = nn.functional.cross_entropy(logits, labels)
    assert torch.allclose(ClassLoss("plain", torch.tensor([3, 2, 1]))(logits, labels), expected)


def test_class_without_training_images_has_weight_0():
    assert ClassLoss("balanced", torch.tensor([2, 0, 2])).weight.tolist() == pytest.approx([2 / 3, 0, 2 / 3])


def test_rare_classes_are_repeated_up_to_a_fraction_of_the_images():
    # a quarter of 20 images is 5: two of class 1, three more of them; class 2 has 5; class 0 has 13
    images, labels = list(range(100, 120)), [(1,)] * 2 + [(2,)] * 5 + [(0,)] * 13
    assert repeat_rare_classes(images, labels, 0.25) == [*images, 100, 101, 100]


def test_without_a_rare_class_the_images_stay():
    images = [7, 3, 5]
    assert repeat_rare_classes(images, [(0,), (1,), (0,)], 0.0) == images
    assert repeat_rare_classes(images, [(0,), (1,), (0,)], 0.33) == images
    assert repeat_rare_classes(images, [(0,)] * 3, 0.5) == images  # a class without any image has none to repeat


def test_an_image_of_several_rare_classes_is_repeated_for_each():
    # half of 4 images is 2: one more of each class that has one image; the images without a class stay
    assert repeat_rare_classes([5, 6, 7, 8], [(0, 1), (), (), (2,)], 0.5) == [5, 6, 7, 8, 5, 5, 8]


def test_loss_of_several_classes_per_image_is_binary_cross_entropy():
    logits, labels = torch.randn(5, 3), torch.tensor([[0, 1, 1], [0, 0, 0], [1, 0, 1], [0, 1, 0], [1, 1, 1]])
    expected = nn.functional.binary_cross_entropy_with_logits(logits, labels.float())
    assert torch.allclose(ClassLoss("plain", torch.ones(3, 2))(logits, labels), expected)


def test_balanced_binary_loss_weights_each_decision_by_its_rarity():
    # of 4 images 1 has the first class: weights 4 / (2 x 3) = 2/3 without and 4 / (2 x 1) = 2 with it; 2 the second: 1
    loss = ClassLoss("balanced", torch.tensor([[3, 1], [2, 2]]))
    logits = torch.tensor(
        [[math.log(3), 0.0], [0.0, math.log(4)]], dtype=torch.float64
    )  # p of 1: 3/4 and 1/2, 1/2 and 4/5
    terms = [2 * -math.log(3 / 4), 1 * -math.log(1 / 2), 2 / 3 * -math.log(1 / 2), 1 * -math.log(1 / 5)]
    expected = sum(terms) / (2 + 1 + 2 / 3 + 1)
    assert loss(logits, torch.tensor([[1, 0], [0, 0]])).item() == pytest.approx(expected, rel=1e-6)


def test_an_epoch_repeats_rare_classes_and_the_loss_weighs_what_is_left():
    # of 40 images 2 are rare: repeated to 4, a tenth of them; then 42 / (2 x 38) and 42 / (2 x 4) are the weights
    records = tuple(Record(f"{n}", None, label=int(n < 2)) for n in range(45))
    split = Split(train=tuple(range(40)), validation=(40, 41), test=(42, 43, 44))
    encoder = build_encoder("test_resnet", image_size=32)
    task = ClassificationTask(
        Classifier(encoder, classes=2),
        AnnotatedData(Collection("moles", records, ("nevus", "melanoma")), None, None, split),
        ClassificationSettings(image_size=32, cache_size=32),
    )
    assert task.train_indices == [*range(40), 0, 1]
    assert task.loss.weight.tolist() == pytest.approx([42 / 76, 42 / 8])
