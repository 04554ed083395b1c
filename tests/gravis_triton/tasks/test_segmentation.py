"""Segmentation networks on the encoder's feature pyramid, and their loss."""

import math

import pytest
import torch

from gravis_triton.errors import UserError
from gravis_triton.models import build_encoder
from gravis_triton.tasks.base import flat_name
from gravis_triton.tasks.segmentation import Segmenter, copy_encoder, mask_loss

DECODERS = ("unet", "unetplusplus", "deeplabv3plus", "fpn")


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return build_encoder("test_resnet", image_size=32)


@pytest.mark.parametrize("decoder", DECODERS)
def test_every_decoder_has_all_weights_of_the_encoder(encoder, decoder):
    network = Segmenter(encoder, decoder=decoder, image_size=64)
    pyramid = network.pretrained.state_dict()
    assert len(pyramid) == len(encoder.state_dict())
    assert f"all {len(pyramid)} tensors" in network.description
    known = {flat_name(name): tensor for name, tensor in encoder.state_dict().items()}
    assert all(torch.equal(tensor, known[flat_name(name)]) for name, tensor in pyramid.items())
    assert network(torch.rand(2, 3, 64, 64)).shape == (2, 1, 64, 64)


def test_encoder_is_copied_to_a_pyramid_with_other_names():
    encoder = build_encoder("test_convnext", image_size=64)
    network = Segmenter(encoder, decoder="unet", image_size=64)
    assert torch.equal(network.pretrained.stages_0.blocks[0].conv_dw.weight, encoder.stages[0].blocks[0].conv_dw.weight)


def test_last_feature_map_is_that_of_the_encoder(encoder):
    network = Segmenter(encoder, decoder="unet", image_size=64)
    images = torch.rand(1, 3, 64, 64)
    pyramid = network.pretrained.eval()(images)
    assert torch.allclose(pyramid[-1], encoder.eval().forward_features(images), atol=1e-5)


def test_encoder_of_another_architecture_raises(encoder):
    other = build_encoder("resnet18", image_size=32)
    with pytest.raises(UserError, match=r"only \d+ of \d+ tensors of the segmentation network's encoder"):
        copy_encoder(encoder, other)


def test_backbone_without_a_pyramid_raises():
    encoder = build_encoder("test_vit", image_size=64)
    with pytest.raises(UserError, match=r"--decoder unet does not work with test_vit .* resnet, efficientnet"):
        Segmenter(encoder, decoder="unet", image_size=64)


def test_image_size_must_be_a_multiple_of_32(encoder):
    with pytest.raises(UserError, match=r"--image-size 80: segmentation needs a multiple of 32, e\.g\. 64"):
        Segmenter(encoder, decoder="unet", image_size=80)


def test_mask_loss_is_cross_entropy_plus_one_minus_dice():
    logits = torch.tensor([[[[0.0, math.log(3)]]]])  # probabilities 1/2, 3/4
    masks = torch.tensor([[[[0.0, 1.0]]]])
    entropy = (math.log(2) - math.log(3 / 4)) / 2
    dice = (2 * 0.75 + 1) / (0.5 + 0.75 + 1 + 1)  # smoothed by 1 above and below
    assert mask_loss(logits, masks).item() == pytest.approx(entropy + 1 - dice, rel=1e-5)
