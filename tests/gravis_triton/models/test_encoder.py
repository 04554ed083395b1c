import json
import logging

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from sklearn.datasets import load_sample_image
from timm.data import create_transform, resolve_model_data_config
from torch import nn
from torch.nn.functional import interpolate

from gravis_triton.data.loading.loader import collate_central_squares
from gravis_triton.errors import UserError
from gravis_triton.models import (
    Preprocessing,
    build_encoder,
    eval_mode,
    from_published_weights,
    normalization,
    open_encoder,
    save_encoder,
)
from gravis_triton.models.encoder import packaged_weights


@pytest.mark.parametrize(
    ("name", "size"),
    [("test_resnet", 64), ("test_vit", 48), ("test_efficientnet", 65), ("test_convnext", 64), ("vgg11", 32)],
)
def test_every_backbone_gives_one_vector_per_image(name, size):
    encoder = build_encoder(name, image_size=size)
    assert encoder(torch.rand(2, 3, size, size)).shape == (2, encoder.head_hidden_size)


@pytest.mark.parametrize(("name", "size"), [("test_resnet", 64), ("test_vit", 48)])
def test_timm_restores_a_saved_encoder_bit_for_bit(tmp_path, name, size):
    encoder = build_encoder(name, image_size=size).to(memory_format=torch.channels_last)
    save_encoder(encoder, tmp_path / "encoder", image_size=size)
    loaded = timm.create_model(f"local-dir:{tmp_path / 'encoder'}", pretrained=True)
    ours, theirs = encoder.state_dict(), loaded.state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert loaded.pretrained_cfg["input_size"] == (3, size, size)


def test_normalization_is_that_of_the_backbone():
    mean, std = normalization(build_encoder("resnet18", image_size=32))
    assert mean == (0.485, 0.456, 0.406)
    assert std == (0.229, 0.224, 0.225)


def test_unknown_model_suggests_similar_names():
    with pytest.raises(UserError, match=r"unknown model 'resnet-50'; did you mean resnet50"):
        build_encoder("resnet-50", image_size=64)


@pytest.mark.parametrize("name", ["convnext_tiny", "vit_tiny_patch16_224"])
def test_unsupported_image_size_raises(name):
    with pytest.raises(
        UserError, match=rf"model '{name}' does not support --image-size 8 \(.*\); try a multiple of 32"
    ):
        build_encoder(name, image_size=8)


def test_failed_download_raises(monkeypatch):
    def unreachable(name, pretrained=False, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(timm, "create_model", unreachable)
    with pytest.raises(
        UserError,
        match=r"cannot download the ImageNet weights of 'resnet18' .* offline, use --model tf_efficientnet_lite0",
    ):
        build_encoder("resnet18", image_size=64, pretrained=True)


def test_backbone_without_published_weights_raises():
    with pytest.raises(
        UserError, match=r"timm has no pretrained weights for 'resnetblur18': start from random weights$"
    ):
        build_encoder("resnetblur18", image_size=64, pretrained=True)


def test_build_encoder_restores_the_log_level_of_the_hub(monkeypatch):
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


def saved_config(encoder, directory, size=32):
    save_encoder(encoder, directory, image_size=size)
    return json.loads((directory / "config.json").read_text())["pretrained_cfg"]


def test_weights_trained_from_scratch_have_no_provenance(tmp_path):
    config = saved_config(build_encoder("resnet18", image_size=32), tmp_path)
    assert config["tag"] == "gravis_triton"
    assert config["description"] == "Pre-trained with gravis-triton from random weights"
    assert not {"license", "paper_ids", "paper_name", "origin_url", "url", "hf_hub_id"} & config.keys()


def test_weights_trained_from_published_ones_keep_their_license(tmp_path):
    published = timm.create_model("resnet18", num_classes=0)  # as timm's: with the config of resnet18.a1_in1k
    config = saved_config(published, tmp_path / "first")
    assert (config["tag"], config["license"]) == ("a1_in1k_gravis_triton", "apache-2.0")
    assert config["description"] == "Pre-trained with gravis-triton from timm's resnet18.a1_in1k"
    again = open_encoder(str(tmp_path / "first"), model=None, image_size=None, default_size=32).encoder
    assert saved_config(again, tmp_path / "second") == config


def test_from_published_weights_follows_the_tag(tmp_path):
    published = timm.create_model("resnet18", num_classes=0)
    scratch = build_encoder("resnet18", image_size=32)
    assert (from_published_weights(published), from_published_weights(scratch)) == (True, False)
    for encoder, name in ((published, "published"), (scratch, "scratch")):
        save_encoder(encoder, tmp_path / name, image_size=32)
        again = open_encoder(str(tmp_path / name), model=None, image_size=None, default_size=32).encoder
        assert from_published_weights(again) == from_published_weights(encoder)


@pytest.mark.parametrize(("name", "size"), [("test_resnet", 64), ("test_vit", 48)])
def test_transformers_opens_a_saved_encoder(tmp_path, name, size):
    transformers = pytest.importorskip("transformers")
    encoder = build_encoder(name, image_size=size).eval()
    save_encoder(encoder, tmp_path, image_size=size)
    images = torch.rand(2, 3, size, size)
    wrapped = transformers.AutoModel.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        assert torch.equal(wrapped(pixel_values=images).pooler_output, encoder(images))


def test_timm_transform_equals_preprocessing(tmp_path):
    size = 32
    encoder = build_encoder("resnet18", image_size=size)  # timm's own: bicubic, 95% of the square
    save_encoder(encoder, tmp_path, image_size=size)
    loaded = timm.create_model(f"local-dir:{tmp_path}", pretrained=True)
    transform = create_transform(**resolve_model_data_config(loaded), is_training=False)
    pixels = np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    preprocess = Preprocessing.of(encoder, image_size=size, cache_size=48)
    ours = preprocess(collate_central_squares([pixels]))[0]
    one_level = 1 / 255 / min(preprocess.std)  # Pillow rounds to whole levels
    assert (transform(Image.fromarray(pixels)) - ours).abs().max() <= one_level


@pytest.mark.parametrize("training", [False, True])
def test_eval_mode_disables_gradients_and_restores_the_mode(training):
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout()).train(training)
    with eval_mode(model):
        assert not any(module.training for module in model.modules())
        assert not model(torch.ones(1, 2)).requires_grad
    assert all(module.training == training for module in model.modules())
    assert model(torch.ones(1, 2)).requires_grad


def test_eval_mode_restores_the_mode_after_an_error():
    model = nn.Linear(2, 2)
    with pytest.raises(ZeroDivisionError), eval_mode(model):
        raise ZeroDivisionError
    assert model.training
    assert torch.is_grad_enabled()


MODEL = "tf_efficientnet_lite0"


@pytest.mark.parametrize(("image", "classes"), [("flower.jpg", {985, 723, 738}), ("china.jpg", {698, 832, 663})])
def test_packaged_weights_classify_photographs(image, classes):
    # ImageNet's 985 daisy, 723 pinwheel, 738 flowerpot; 698 palace, 832 stupa, 663 monastery
    network = timm.create_model(MODEL).eval()
    weights = packaged_weights(MODEL)
    network.load_state_dict(dict(zip(network.state_dict(), weights, strict=True)))
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in normalization(network))
    pixels = torch.from_numpy(load_sample_image(image).copy()).permute(2, 0, 1).float().unsqueeze(0)[..., 107:533]
    pixels = interpolate(pixels, size=(224, 224), mode="bilinear", antialias=True) / 255
    assert int(network((pixels - mean) / std).argmax()) in classes


def test_encoder_starts_from_packaged_weights_offline():
    encoder = build_encoder(MODEL, image_size=64, pretrained=True)
    tensors = list(encoder.state_dict().values())
    assert all(torch.equal(one, other) for one, other in zip(tensors, packaged_weights(MODEL), strict=False))


def test_other_architectures_have_no_packaged_weights():
    assert packaged_weights("resnet18") is None
