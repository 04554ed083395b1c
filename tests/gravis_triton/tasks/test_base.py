"""Networks on a pre-trained encoder: freezing, layer-wise learning rates, moving averages."""

import pytest
import torch
from torch import nn

from gravis_triton.data import Split
from gravis_triton.errors import UserError
from gravis_triton.models import build_encoder
from gravis_triton.settings.jobs import FinetuneSettings
from gravis_triton.tasks.base import AnnotatedData, Task, parameter_groups
from gravis_triton.tasks.classification import Classifier
from gravis_triton.tasks.segmentation import Segmenter


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return build_encoder("test_resnet", image_size=32)


def test_frozen_encoder_keeps_weights_and_batch_statistics(encoder):
    network = Classifier(encoder, classes=3)
    network.freeze("encoder")
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    network.train()
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=1.0)
    network(torch.rand(4, 3, 32, 32)).square().sum().backward()
    optimizer.step()
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.state_dict().items())
    assert network.classifier.weight.grad is not None


def test_frozen_statistics_leave_batch_norm_weights_trainable(encoder):
    network = Classifier(encoder, classes=3)
    network.freeze("statistics")
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    images = torch.rand(4, 3, 32, 32)
    assert torch.equal(network.train()(images), network.eval()(images))  # test_resnet has no dropout
    network.train()
    network(images).square().sum().backward()
    torch.optim.SGD(network.parameters(), lr=1.0).step()
    after = encoder.state_dict()
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert {"bn1.running_mean", "bn1.running_var"} <= set(after) - changed
    assert not [name for name in changed if "running" in name or "num_batches" in name]
    assert [name for name in changed if "bn" in name]


def test_frozen_statistics_do_not_freeze_the_decoder(encoder):
    network = Segmenter(encoder, decoder="unet", image_size=64)
    network.freeze("statistics")
    network.train()
    modes = {module.training for module in network.pretrained.modules() if isinstance(module, nn.BatchNorm2d)}
    decoder = {module.training for module in network.network.decoder.modules() if isinstance(module, nn.BatchNorm2d)}
    assert (modes, decoder) == ({False}, {True})


def test_layer_decay_lowers_the_rate_of_earlier_layers(encoder):
    network = Classifier(encoder, classes=3)
    groups = parameter_groups(network, encoder, weight_decay=0.1, layer_decay=0.5)
    scale_of = {id(p): group["lr_scale"] for group in groups for p in group["params"]}
    decay_of = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    assert len(scale_of) == len(list(network.parameters()))
    assert scale_of[id(network.classifier.weight)] == 1
    assert scale_of[id(encoder.layer4[-1].conv1.weight)] == 1
    stem, first = scale_of[id(encoder.conv1[0].weight)], scale_of[id(encoder.layer1[0].conv1.weight)]
    assert first == 2 * stem
    assert decay_of[id(encoder.bn1.weight)] == 0
    assert decay_of[id(encoder.layer1[0].conv1.weight)] == 0.1


def test_layer_decay_applies_to_the_feature_pyramid(encoder):
    network = Segmenter(encoder, decoder="unet", image_size=64)
    groups = parameter_groups(network, encoder, weight_decay=0.1, layer_decay=0.5)
    scale_of = {id(p): group["lr_scale"] for group in groups for p in group["params"]}
    assert scale_of[id(network.pretrained.conv1[0].weight)] < scale_of[id(network.pretrained.layer4[0].conv1.weight)]
    assert scale_of[id(network.network.segmentation_head[0].weight)] == 1


@pytest.fixture
def unnumbered():
    return build_encoder("poolformer_s12", image_size=32)


def test_backbone_without_numbered_layers_has_one_rate(unnumbered):
    network = Classifier(unnumbered, classes=3)
    groups = parameter_groups(network, unnumbered, weight_decay=0.1, layer_decay=1.0)
    assert {group["lr_scale"] for group in groups} == {1.0}
    assert sum(len(group["params"]) for group in groups) == len(list(network.parameters()))


def test_layer_decay_without_numbered_layers_raises(unnumbered):
    with pytest.raises(UserError, match=r"^--layer-decay 0\.5 does not work with poolformer_s12, .*: drop it"):
        parameter_groups(Classifier(unnumbered, classes=3), unnumbered, weight_decay=0.1, layer_decay=0.5)


def test_average_follows_the_weights_with_the_documented_decay(encoder):
    network = Classifier(encoder, classes=2)
    network.classifier.weight.data.fill_(0.0)
    settings = FinetuneSettings(ema=0.5, image_size=32, cache_size=32)
    task = Task(network, AnnotatedData(None, None, None, Split((), (), ())), settings)
    network.classifier.weight.data.fill_(1.0)
    task.after_step(3, 10)  # t = 2 keeps 1 - 2^(-2/3) = 0.370
    average = task.evaluated.classifier.weight
    assert average[0, 0].item() == pytest.approx(2 ** (-2 / 3), rel=1e-5)
    network.classifier.weight.data.fill_(0.0)
    task.after_step(1001, 2000)  # keeps the decay
    assert average[0, 0].item() == pytest.approx(0.5 * 2 ** (-2 / 3), rel=1e-5)
