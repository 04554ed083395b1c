import argparse
import json
import re

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from gravis_triton.errors import UserError
from gravis_triton.models import build_encoder, normalization, open_encoder, save_encoder


def opened(spec, *, model=None, image_size=None, default_size=64):
    return open_encoder(str(spec), model=model, image_size=image_size, default_size=default_size)


@pytest.fixture
def saved(tmp_path):
    encoder = build_encoder("test_resnet", image_size=32)
    save_encoder(encoder, tmp_path / "encoder", image_size=32)
    (tmp_path / "encoder" / "image_ids.json").write_text(json.dumps(["ISIC_1", "ISIC_2"]))
    return encoder, tmp_path / "encoder"


def test_all_tensors_of_a_saved_encoder_are_loaded(saved):
    encoder, directory = saved
    source = opened(directory)
    expected, found = encoder.state_dict(), source.encoder.state_dict()
    assert list(found) == list(expected)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert (source.architecture, source.image_size) == ("test_resnet", 32)
    assert f"{len(expected)} of {len(expected)} encoder tensors loaded" in source.loaded
    assert source.image_ids == {"ISIC_1", "ISIC_2"}


def test_run_directory_opens_its_encoder(saved):
    _, directory = saved
    assert opened(directory.parent).image_ids == {"ISIC_1", "ISIC_2"}


def test_position_embeddings_are_resampled(tmp_path):
    encoder = build_encoder("test_vit", image_size=32)
    save_encoder(encoder, tmp_path, image_size=32)
    source = opened(tmp_path, image_size=64)
    assert source.encoder(torch.rand(1, 3, 64, 64)).shape == (1, encoder.head_hidden_size)
    assert source.encoder.pos_embed.shape[1] > encoder.pos_embed.shape[1]
    assert torch.equal(source.encoder.norm.weight, encoder.norm.weight)


def test_classifier_is_left_out(tmp_path):
    model = timm.create_model("test_resnet", num_classes=7)
    timm.models.save_for_hf(model, str(tmp_path), safe_serialization=True)
    source = opened(tmp_path)
    assert torch.equal(source.encoder.conv1[0].weight, model.conv1[0].weight)
    assert source.encoder.num_classes == 0


@pytest.mark.parametrize(
    ("model", "arguments"),
    [("test_resnet", {"global_pool": "max"}), ("test_vit", {"global_pool": "avg", "class_token": False})],
)
def test_model_args_are_opened_and_saved(tmp_path, model, arguments):
    backbone = (
        timm.create_model(model, img_size=32, **arguments)
        if model == "test_vit"
        else timm.create_model(model, **arguments)
    )
    timm.models.save_for_hf(backbone, str(tmp_path / "timm"), safe_serialization=True)
    encoder = opened(tmp_path / "timm", image_size=32).encoder
    images = torch.rand(2, 3, 32, 32)
    expected = backbone.eval().forward_head(backbone.forward_features(images), pre_logits=True)
    assert torch.equal(encoder.eval()(images), expected)
    save_encoder(encoder, tmp_path / "ours", image_size=32)
    assert torch.equal(opened(tmp_path / "ours").encoder.eval()(images), expected)


def test_unsupported_model_args_raise(saved):
    _, directory = saved
    config = json.loads((directory / "config.json").read_text())
    config["model_args"]["colour"] = "red"
    (directory / "config.json").write_text(json.dumps(config))
    (directory / "checksums.json").unlink(missing_ok=True)
    with pytest.raises(UserError, match=r"does not accept its model_args: .*'colour'"):
        opened(directory)


def test_random_weights_are_reported():
    source = opened("random", model="test_resnet", default_size=48)
    assert source.loaded == "encoder: test_resnet, random weights"
    assert source.image_size == 48
    assert normalization(source.encoder)[0]


def test_missing_tensor_raises_with_the_count(saved):
    _, directory = saved
    tensors = load_file(directory / "model.safetensors")
    total = len(tensors)
    del tensors["layer1.0.conv1.weight"]
    save_file(tensors, directory / "model.safetensors")
    with pytest.raises(UserError, match=rf"only {total - 1} of {total} .* layer1.0.conv1.weight is missing"):
        opened(directory)


def test_weights_of_another_architecture_raise_with_the_count(saved):
    _, directory = saved
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps({**config, "architecture": "resnet18"}))
    with pytest.raises(UserError, match=r"has only \d+ of 120 encoder tensors of resnet18"):
        opened(directory)


def test_model_that_contradicts_the_encoder_raises(saved):
    _, directory = saved
    with pytest.raises(UserError, match="holds a test_resnet, not a resnet50: drop --model"):
        opened(directory, model="resnet50")


def test_directory_without_an_encoder_raises(tmp_path):
    with pytest.raises(UserError, match=r"no encoder found \(no config.json\); give RUN/encoder"):
        opened(tmp_path)


def test_color_histogram_is_no_encoder_to_open(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as error:
        opened("color-histogram")
    assert str(error.value) == (
        "--encoder color-histogram: no encoder found (no config.json); "
        "give RUN/encoder, random, imagenet, hf:OWNER/NAME, or a .safetensors or .pth file"
    )


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (b'["ISIC_1", "ISI', r"cannot be read \(.*\)"),
        (b"\xff\xfe\x00", r"cannot be read \(.*\)"),
        (b'{"ISIC_1": true}', "must contain a list of image ids"),
        (b'[["ISIC_1"]]', "must contain a list of image ids"),
    ],
)
def test_damaged_image_ids_raise_with_a_hint(saved, text, complaint):
    _, directory = saved
    file = directory / "image_ids.json"
    file.write_bytes(text)
    with pytest.raises(UserError, match=rf"^{re.escape(str(file))} {complaint}: .*or delete it.*$") as error:
        opened(directory)
    assert "\n" not in str(error.value)


def test_encoder_without_image_ids_is_opened(saved):
    _, directory = saved
    (directory / "image_ids.json").unlink()
    assert opened(directory).image_ids == frozenset()


def test_truncated_encoder_raises(saved):
    _, directory = saved
    whole = (directory / "model.safetensors").read_bytes()
    (directory / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="cannot be read"):
        opened(directory)


def test_unreachable_hub_raises(monkeypatch):
    def unreachable(*_args, **_options):
        raise OSError("no route to host")

    monkeypatch.setattr("gravis_triton.models.open.snapshot_download", unreachable)
    with pytest.raises(UserError, match="cannot download the encoder hf:nobody/nothing-of-that-name"):
        opened("hf:nobody/nothing-of-that-name")


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pth"])
def test_state_dict_file_opens_without_its_classifier(tmp_path, name):
    network = timm.create_model("test_resnet", num_classes=3)
    if name.endswith("safetensors"):
        save_file(network.state_dict(), tmp_path / name)
    else:
        torch.save(network.state_dict(), tmp_path / name)
    source = opened(tmp_path / name, model="test_resnet")
    found = source.encoder.state_dict()
    assert all(torch.equal(tensor, network.state_dict()[name]) for name, tensor in found.items())
    assert source.image_size == 64
    with pytest.raises(UserError, match=r"does not record its architecture: give --model$"):
        opened(tmp_path / name)
    with pytest.raises(UserError, match="these are the weights of another architecture"):
        opened(tmp_path / name, model="resnet18")


@pytest.mark.parametrize("content", [b"", b"no weights", b"text\n"])
def test_file_without_a_state_dict_raises(tmp_path, content):
    (tmp_path / "weights.pth").write_bytes(content)
    with pytest.raises(UserError, match=r"is not a file with a state dict of tensors: ."):
        opened(tmp_path / "weights.pth", model="test_resnet")


def test_code_in_a_weights_file_is_not_executed(tmp_path):
    class Payload:
        def __reduce__(self):
            return (tmp_path.joinpath("ran").touch, ())

    torch.save({"conv1.weight": Payload()}, tmp_path / "weights.pth")
    with pytest.raises(UserError, match="is not a file with a state dict"):
        opened(tmp_path / "weights.pth", model="test_resnet")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("layout", "prefix"),
    [
        (lambda t, other: {"state_dict": pre(t, "module.encoder_q.") | pre(other, "module.encoder_k.")}, "encoder_q."),
        (lambda t, other: {"student": pre(other, "backbone."), "teacher": pre(t, "backbone.")}, "teacher.backbone."),
        (lambda t, other: {"state_dict": pre(t, "backbone.") | pre(other, "momentum_backbone.")}, "backbone."),
        (lambda t, other: {"epoch": 3, "state_dict": pre(t, "model.backbone."), "optimizer": {}}, "model.backbone."),
        (lambda t, other: {"student": t, "args": argparse.Namespace(lr=1)}, "student."),
    ],
)  # fmt: skip
def test_checkpoints_of_other_toolkits_are_read_without_their_prefix(saved, tmp_path, layout, prefix):
    encoder, _ = saved
    tensors = encoder.state_dict()
    torch.save(layout(tensors, {name: torch.zeros_like(t) for name, t in tensors.items()}), tmp_path / "other.pth")
    source = opened(tmp_path / "other.pth", model="test_resnet")
    assert all(torch.equal(found, tensors[name]) for name, found in source.encoder.state_dict().items())
    assert source.loaded.endswith(f"(without their prefix {prefix})")


def pre(tensors, prefix):
    return {prefix + name: tensor for name, tensor in tensors.items()}


def test_the_prefix_of_incomplete_weights_is_named(saved, tmp_path):
    tensors = pre(saved[0].state_dict(), "backbone.")
    tensors.popitem()
    torch.save(tensors, tmp_path / "other.pth")
    with pytest.raises(UserError, match=r"has only \d+ of \d+ encoder tensors of test_resnet under backbone\., e\.g\."):
        opened(tmp_path / "other.pth", model="test_resnet")


def test_children_of_an_encoder_by_number_are_read(tmp_path):
    encoder = build_encoder("resnet18", image_size=32)
    numbers = {child: str(number) for number, (child, _) in enumerate(encoder.named_children())}
    tensors = {name: torch.rand_like(tensor.float()) for name, tensor in encoder.state_dict().items()}
    renamed = {f"backbone.{numbers[name.split('.')[0]]}.{name.partition('.')[2]}": one for name, one in tensors.items()}
    torch.save({"state_dict": renamed}, tmp_path / "lightly.pth")
    source = opened(tmp_path / "lightly.pth", model="resnet18")
    assert torch.equal(source.encoder.layer4[1].conv2.weight, tensors["layer4.1.conv2.weight"])
    assert source.loaded.endswith("(without their prefix backbone.)")


def test_weights_for_another_image_size_say_so(tmp_path):
    torch.save(build_encoder("test_vit", image_size=160).state_dict(), tmp_path / "vit.pth")
    with pytest.raises(UserError, match=r"pos_embed has another shape; give the --image-size of its training$"):
        opened(tmp_path / "vit.pth", model="test_vit")
    assert opened(tmp_path / "vit.pth", model="test_vit", image_size=160).image_size == 160
