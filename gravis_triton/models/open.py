"""Open an encoder from a directory, the Hugging Face hub, timm's or random weights, and check that it is complete."""

import json
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.models import load_state_dict
from torch import Tensor, nn

from gravis_triton.errors import UserError
from gravis_triton.files import CHECKSUMS, read_json, verify_checksums
from gravis_triton.models.encoder import build_encoder, create_backbone

_FOLLOWERS = ("momentum", "encoder_k", "key", "target", "student")
"""Words in the names of an encoder's copies that are not the one to use."""
WEIGHTS_FILES = (".safetensors", ".pth", ".pt")
IMAGE_IDS_FILES = ("image_ids.json", "source_ids.json")
"""Names of the file with the ids of the pre-training images; the second is from version 0.1."""


@dataclass(frozen=True, slots=True)
class OpenedEncoder:
    """An encoder and its origin.

    architecture: its timm name. image_size: side of its square input images, in pixels. loaded: origin of its weights,
    as a line for the user. image_ids: ids of the images it was pre-trained on, empty if not recorded.
    """

    encoder: nn.Module
    architecture: str
    image_size: int
    loaded: str
    image_ids: frozenset[str] = frozenset()


def find_architecture(spec: str, model: str | None) -> str:
    """timm name of the encoder that `--encoder` and `--model` name, as for `open_encoder`, without loading it."""
    if spec in ("random", "imagenet") or spec.endswith(WEIGHTS_FILES):
        if model is None:
            raise UserError(f"--encoder {spec} does not record its architecture: give --model")
        return model
    return _config(_directory(spec))["architecture"]


def open_encoder(spec: str, *, model: str | None, image_size: int | None, default_size: int) -> OpenedEncoder:
    """Open the encoder that `--encoder` names.

    spec: "random" or "imagenet" (timm's weights) for the timm architecture `model`; an encoder directory, or a run
    that holds one; "hf:OWNER/NAME" for such a directory on the Hugging Face hub; a .safetensors or .pth file with a
    state dict of the timm architecture `model`, whose classifier is left out.
    model: must be the architecture of the directory if both are given. image_size: defaults to the encoder's, else
    `default_size`.
    Raises UserError if there is no such encoder, or if a tensor of the architecture is missing or has another shape:
    no tensor is silently left at its random initial value.
    """
    size = image_size or default_size
    if spec in ("random", "imagenet"):
        architecture = find_architecture(spec, model)
        encoder = build_encoder(architecture, image_size=size, pretrained=spec == "imagenet")
        tensors = len(encoder.state_dict())
        weights = "random weights" if spec == "random" else f"timm's ImageNet weights, {tensors} tensors"
        return OpenedEncoder(encoder, architecture, size, f"encoder: {architecture}, {weights}")
    if spec.endswith(WEIGHTS_FILES):
        architecture = find_architecture(spec, model)
        encoder, prefix = _from_file(Path(spec), architecture, size)
        line = _loaded_line(encoder, architecture, spec) + (f" (without their prefix {prefix})" if prefix else "")
        return OpenedEncoder(encoder, architecture, size, line)
    directory = _directory(spec)
    verify_checksums(directory)
    config = _config(directory)
    architecture = config["architecture"]
    if model is not None and model.split(".")[0] != architecture.split(".")[0]:
        raise UserError(f"--encoder {spec} holds a {architecture}, not a {model}: drop --model or change it")
    size = image_size or int(config.get("pretrained_cfg", {}).get("input_size", [3, default_size])[1])
    encoder = _loaded(directory, config, size)
    line = _loaded_line(encoder, architecture, spec)
    return OpenedEncoder(encoder, architecture, size, line, _image_ids(directory))


def _loaded_line(encoder: nn.Module, architecture: str, spec: str) -> str:
    tensors = len(encoder.state_dict())
    return f"encoder: {architecture} from {spec}, {tensors} of {tensors} encoder tensors loaded"


def _from_file(file: Path, model: str, size: int) -> tuple[nn.Module, str]:
    """The encoder in a file with a timm state dict, also inside the checkpoint of another toolkit, and the prefix that
    its tensors have there. Nothing in the file is executed (weights_only)."""
    encoder = build_encoder(model, image_size=size)
    try:
        with torch.serialization.safe_globals([Namespace]):  # settings, which many checkpoints have
            saved = _flat(load_state_dict(str(file), weights_only=True))
    except Exception as error:  # the unpickler may raise anything
        reason = str(error).partition("\n")[0].partition(". ")[0] or type(error).__name__
        raise UserError(
            f"--encoder {file} is not a file with a state dict of tensors: {reason}; save the state dict alone"
        ) from error
    expected = encoder.state_dict()
    names = _numbered_names(encoder)
    prefix = _prefix(saved, {number: expected[name] for number, name in names.items()})
    if not all(f"{prefix}{number}" in saved for number in names):
        names = dict(zip(expected, expected, strict=True))
        prefix = _prefix(saved, expected)
    saved = {name: saved[f"{prefix}{own}"] for own, name in names.items() if f"{prefix}{own}" in saved}
    _check_complete(file, model, saved, expected, resampled=False, prefix=prefix)
    encoder.load_state_dict({name: saved[name] for name in expected})
    return encoder, prefix


def _numbered_names(encoder: nn.Module) -> dict[str, str]:
    """Names of the encoder's tensors with the numbers of its children -> with their names: lightly's backbones are
    `nn.Sequential(*resnet.children())`."""
    numbers = {child: str(number) for number, (child, _) in enumerate(encoder.named_children())}
    parts = [name.partition(".") for name in encoder.state_dict()]
    return {f"{numbers.get(child, child)}{dot}{rest}": f"{child}{dot}{rest}" for child, dot, rest in parts}


def _flat(saved: Mapping[str, Any], around: str = "") -> dict[str, Tensor]:
    """All tensors in nested dictionaries, by their joined names."""
    tensors: dict[str, Tensor] = {}
    for name, value in saved.items():
        if isinstance(value, Tensor):
            tensors[f"{around}{name}"] = value
        elif isinstance(value, dict) and "optim" not in str(name):
            tensors |= _flat(value, f"{around}{name}.")
    return tensors


def _prefix(saved: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    """What stands before the names of most tensors, such as encoder_q. or teacher.backbone.

    Of several copies of an encoder, the teacher, and not the one that follows another in contrastive learning.
    """
    some = [name for name in expected if expected[name].ndim][:: max(1, len(expected) // 20)]
    shapes = {name: tensor.shape for name, tensor in saved.items()}
    prefixes = {known.removesuffix(name) for name in some for known in saved if f".{known}".endswith(f".{name}")}

    def fits(prefix: str) -> tuple[int, bool, bool]:
        fitting = sum(shapes.get(f"{prefix}{name}") == tensor.shape for name, tensor in expected.items())
        return fitting, "teacher" in prefix, not any(word in prefix for word in _FOLLOWERS)

    return max(sorted(prefixes), key=fits, default="")


def _directory(spec: str) -> Path:
    """The encoder directory that a path names: itself, or the one of a run; of hf:OWNER/NAME, a download."""
    if spec.startswith("hf:"):
        return _downloaded(spec.removeprefix("hf:"))
    path = Path(spec)
    for directory in (path, path / "encoder"):
        if (directory / "config.json").is_file():
            return directory
    raise UserError(
        f"--encoder {path}: no encoder found (no config.json); give RUN/encoder, random, imagenet, hf:OWNER/NAME, or a "
        ".safetensors or .pth file"
    )


def _downloaded(repository: str) -> Path:
    expected = ["config.json", "model.safetensors", CHECKSUMS, *IMAGE_IDS_FILES]
    try:
        directory = Path(snapshot_download(repository, allow_patterns=expected))
    except (OSError, HfHubHTTPError, HFValidationError) as error:
        raise UserError(
            f"cannot download the encoder hf:{repository} from the Hugging Face hub ({type(error).__name__}): "
            "check the name, the connection and HF_HUB_OFFLINE"
        ) from error
    if not (directory / "config.json").is_file():
        raise UserError(f"hf:{repository} has no config.json: it is not a timm model")
    return directory


def _config(directory: Path) -> dict[str, Any]:
    config = read_json(directory / "config.json")
    if not timm.is_model(config.get("architecture", "")):
        raise UserError(f"{directory / 'config.json'} does not name a timm architecture")
    if not isinstance(config.setdefault("model_args", {}), dict):
        raise UserError(f"{directory / 'config.json'}: model_args must be a mapping")
    return config


def _loaded(directory: Path, config: dict[str, Any], size: int) -> nn.Module:
    file = directory / "model.safetensors"
    try:
        saved = load_file(file)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{file} cannot be read ({error}): was the run interrupted?") from error
    architecture, model_args = config["architecture"], config["model_args"]
    expected = build_encoder(architecture, image_size=size, model_args=model_args).state_dict()
    _check_complete(file, architecture, saved, expected)
    # timm resamples position embeddings
    encoder = create_backbone(f"local-dir:{directory}", size, pretrained=True, model_args=model_args)
    loaded = encoder.state_dict()
    same_shape = [name for name in saved if name in loaded and loaded[name].shape == saved[name].shape]
    if lost := [name for name in same_shape if not torch.equal(loaded[name], saved[name])]:
        raise UserError(f"{file}: {len(lost)} of {len(expected)} encoder tensors were not loaded, e.g. {lost[0]}")
    return encoder


def _check_complete(
    file: Path,
    architecture: str,
    saved: dict[str, Tensor],
    expected: dict[str, Tensor],
    *,
    resampled: bool = True,
    prefix: str = "",
) -> None:
    """Raises UserError if a tensor is missing or has another shape. resampled: timm resizes position tensors. prefix:
    was removed from the names."""

    def is_of_size(name: str) -> bool:
        return name in saved and any(part in name for part in ("pos_embed", "relative_position", "attn_mask"))

    def fits(name: str) -> bool:
        return name in saved and ((resampled and is_of_size(name)) or saved[name].shape == expected[name].shape)

    unmatched = [name for name in expected if not fits(name)]
    if unmatched:
        hint = "these are the weights of another architecture"
        if all(map(is_of_size, unmatched)):
            hint = "give the --image-size of its training"
        matched = f"{len(expected) - len(unmatched)} of {len(expected)} encoder tensors of {architecture}"
        raise UserError(
            f"{file} has only {matched}{f' under {prefix}' if prefix else ''}, e.g. {unmatched[0]} "
            f"{'has another shape' if unmatched[0] in saved else 'is missing'}; {hint}"
        )


def _image_ids(directory: Path) -> frozenset[str]:
    """The ids of the images that the encoder was pre-trained on; empty if they are not recorded."""
    file = next((directory / name for name in IMAGE_IDS_FILES if (directory / name).is_file()), None)
    if file is None:
        return frozenset()
    hint = "copy it from the run again, or delete it to skip the check for pre-training images in the test set"
    try:
        ids = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read ({error}): {hint}") from error
    if not isinstance(ids, list) or not all(isinstance(image_id, str) for image_id in ids):
        raise UserError(f"{file} must contain a list of image ids: {hint}")
    return frozenset(ids)
