"""Classifiers and segmentation networks on a pre-trained encoder."""

import pytest
import torch
from torch import nn

from gravis_triton.errors import UserError
from gravis_triton.models import Classifier, build_encoder, build_segmenter, normalization, parameter_groups
from gravis_triton.models.segmenter import copy_encoder, flat_name

DECODERS = ("unet", "unetplusplus", "deeplabv3plus", "fpn")


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return build_encoder("test_resnet", image_size=32)


def test_a_classifier_is_linear_in_the_encoders_features(encoder):
    network = Classifier(encoder, classes=3).eval()
    images = torch.rand(2, 3, 32, 32)
    features = encoder.eval()(images)
    expected = features @ network.classifier.weight.T + network.classifier.bias
    assert torch.allclose(network(images), expected, atol=1e-6)
    assert normalization(network) == normalization(encoder)


@pytest.mark.parametrize("decoder", DECODERS)
def test_every_decoder_sits_on_all_weights_of_the_encoder(encoder, decoder):
    network, tensors = build_segmenter(encoder, architecture="test_resnet", decoder=decoder, image_size=64)
    pyramid = network.pretrained.state_dict()
    assert tensors == len(pyramid) == len(encoder.state_dict())
    known = {flat_name(name): tensor for name, tensor in encoder.state_dict().items()}
    assert all(torch.equal(tensor, known[flat_name(name)]) for name, tensor in pyramid.items())
    assert network(torch.rand(2, 3, 64, 64)).shape == (2, 1, 64, 64)


def test_a_backbone_whose_pyramid_names_its_modules_differently_is_copied_too():
    encoder = build_encoder("test_convnext", image_size=64)
    network, tensors = build_segmenter(encoder, architecture="test_convnext", decoder="unet", image_size=64)
    assert tensors == len(network.pretrained.state_dict())
    assert torch.equal(
        network.pretrained.stages_0.blocks[0].conv_dw.weight, encoder.stages[0].blocks[0].conv_dw.weight
    )


def test_the_last_feature_map_is_what_the_encoder_computes(encoder):
    network, _ = build_segmenter(encoder, architecture="test_resnet", decoder="unet", image_size=64)
    images = torch.rand(1, 3, 64, 64)
    pyramid = network.pretrained.eval()(images)
    assert torch.allclose(pyramid[-1], encoder.eval().forward_features(images), atol=1e-5)


def test_an_encoder_of_another_architecture_raises_with_the_count(encoder):
    other = build_encoder("resnet18", image_size=32)
    with pytest.raises(UserError, match=r"only \d+ of \d+ tensors of the segmentation network's encoder"):
        copy_encoder(encoder, other)


def test_a_backbone_without_a_pyramid_raises_with_a_way_out():
    encoder = build_encoder("test_vit", image_size=64)
    with pytest.raises(
        UserError, match=r"--decoder unet does not work with test_vit .* resnet, efficientnet"
    ):
        build_segmenter(encoder, architecture="test_vit", decoder="unet", image_size=64)


def test_a_size_that_decoders_cannot_halve_five_times_raises(encoder):
    with pytest.raises(UserError, match=r"--image-size 80: segmentation needs a multiple of 32, e\.g\. 64"):
        build_segmenter(encoder, architecture="test_resnet", decoder="unet", image_size=80)


def test_a_frozen_encoder_changes_neither_weights_nor_batch_statistics(encoder):
    network = Classifier(encoder, classes=3)
    network.freeze_encoder()
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    network.train()
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=1.0)
    network(torch.rand(4, 3, 32, 32)).square().sum().backward()
    optimizer.step()
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.state_dict().items())
    assert network.classifier.weight.grad is not None


def test_frozen_statistics_normalize_while_the_weights_of_batch_norm_are_trained(encoder):
    network = Classifier(encoder, classes=3)
    network.freeze_statistics()
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


def test_the_statistics_of_a_decoder_are_its_own(encoder):
    network, _ = build_segmenter(encoder, architecture="test_resnet", decoder="unet", image_size=64)
    network.freeze_statistics()
    network.train()
    modes = {module.training for module in network.pretrained.modules() if isinstance(module, nn.BatchNorm2d)}
    decoder = {
        module.training for module in network.network.decoder.modules() if isinstance(module, nn.BatchNorm2d)
    }
    assert (modes, decoder) == ({False}, {True})


def test_each_earlier_layer_learns_more_slowly(encoder):
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


def test_layer_decay_reaches_the_pyramid_of_a_segmentation_network(encoder):
    network, _ = build_segmenter(encoder, architecture="test_resnet", decoder="unet", image_size=64)
    groups = parameter_groups(network, encoder, weight_decay=0.1, layer_decay=0.5)
    scale_of = {id(p): group["lr_scale"] for group in groups for p in group["params"]}
    assert (
        scale_of[id(network.pretrained.conv1[0].weight)]
        < scale_of[id(network.pretrained.layer4[0].conv1.weight)]
    )
    assert scale_of[id(network.network.segmentation_head[0].weight)] == 1


@pytest.fixture
def unnumbered():
    return build_encoder("poolformer_s12", image_size=32)


def test_a_backbone_whose_layers_timm_does_not_number_learns_at_one_rate(unnumbered):
    network = Classifier(unnumbered, classes=3)
    groups = parameter_groups(network, unnumbered, weight_decay=0.1, layer_decay=1.0)
    assert {group["lr_scale"] for group in groups} == {1.0}
    assert sum(len(group["params"]) for group in groups) == len(list(network.parameters()))


def test_layer_decay_on_a_backbone_whose_layers_timm_does_not_number_raises_by_name(unnumbered):
    with pytest.raises(
        UserError, match=r"^--layer-decay 0\.5 does not work with poolformer_s12, .*: drop it"
    ):
        parameter_groups(Classifier(unnumbered, classes=3), unnumbered, weight_decay=0.1, layer_decay=0.5)
