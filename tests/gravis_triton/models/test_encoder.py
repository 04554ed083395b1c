import logging

import pytest
import timm
import torch

from gravis_triton.errors import UserError
from gravis_triton.models import Pretrainer, build_encoder, normalization, save_encoder


@pytest.mark.parametrize(
    ("name", "size"),
    [("test_resnet", 64), ("test_vit", 48), ("test_efficientnet", 65), ("test_convnext", 64), ("vgg11", 32)],
)
def test_any_backbone_gives_one_vector_per_image(name, size):
    encoder = build_encoder(name, image_size=size)
    assert encoder(torch.rand(2, 3, size, size)).shape == (2, encoder.head_hidden_size)


def test_projection_has_two_layers_and_the_dimensions_asked_for():
    model = Pretrainer(build_encoder("test_resnet", image_size=32), hidden=24, dim=16)
    assert [type(layer).__name__ for layer in model.projection] == ["Linear", "ReLU", "Linear"]
    assert model(torch.rand(3, 3, 32, 32)).shape == (3, 16)


@pytest.mark.parametrize(("name", "size"), [("test_resnet", 64), ("test_vit", 48)])
def test_a_saved_encoder_comes_back_bit_for_bit_through_timm_alone(tmp_path, name, size):
    encoder = build_encoder(name, image_size=size).to(memory_format=torch.channels_last)
    save_encoder(encoder, tmp_path / "encoder", image_size=size)
    loaded = timm.create_model(f"local-dir:{tmp_path / 'encoder'}", pretrained=True)
    ours, theirs = encoder.state_dict(), loaded.state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert loaded.pretrained_cfg["input_size"] == (3, size, size)


def test_normalization_is_the_backbones_own():
    mean, std = normalization(build_encoder("resnet18", image_size=32))
    assert mean == (0.485, 0.456, 0.406)
    assert std == (0.229, 0.224, 0.225)


def test_an_unknown_model_is_answered_with_similar_names():
    with pytest.raises(UserError, match=r"unknown model 'resnet-50'; did you mean resnet50"):
        build_encoder("resnet-50", image_size=64)


@pytest.mark.parametrize("name", ["convnext_tiny", "vit_tiny_patch16_224"])
def test_a_size_that_the_backbone_does_not_support_is_named(name):
    with pytest.raises(
        UserError, match=rf"model '{name}' does not support --image-size 8 \(.*\); try a multiple of 32"
    ):
        build_encoder(name, image_size=8)


def test_weights_that_cannot_be_downloaded_are_a_clear_error(monkeypatch):
    def unreachable(name, pretrained=False, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(timm, "create_model", unreachable)
    with pytest.raises(
        UserError,
        match=r"cannot download the ImageNet weights of 'resnet18' .* without a network: --model tf_efficientnet_lite0",
    ):
        build_encoder("resnet18", image_size=64, pretrained=True)


def test_a_backbone_that_timm_has_no_weights_for_is_a_clear_error():
    with pytest.raises(
        UserError, match=r"timm has no pretrained weights for 'resnetblur18': start from random weights$"
    ):
        build_encoder("resnetblur18", image_size=64, pretrained=True)


def test_building_an_encoder_leaves_the_level_of_the_hubs_logger_alone(monkeypatch):
    logger, levels = logging.getLogger("huggingface_hub"), []

    def unreachable(name, pretrained=False, **kwargs):
        levels.append(logger.level)
        raise OSError("no route to host")

    monkeypatch.setattr(logger, "level", logging.INFO)
    monkeypatch.setattr(timm, "create_model", unreachable)
    with pytest.raises(UserError):
        build_encoder("resnet18", image_size=64, pretrained=True)
    assert levels == [logging.ERROR]
    assert logger.level == logging.INFO
