"""Where an encoder's weights come from, and whether all of them arrived."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from gravis_triton.errors import UserError
from gravis_triton.models.encoder import build_encoder, create_backbone

DEFAULT_MODEL = "resnet18"


@dataclass(frozen=True, slots=True)
class OpenedEncoder:
    """An encoder and what is known of it.

    architecture: its timm name. image_size: side of the square images it is to see, in pixels. loaded: where its
    weights are from, as a line for the user. source_ids: ids of the images it was pre-trained on, as far as they are
    recorded.
    """

    encoder: nn.Module
    architecture: str
    image_size: int
    loaded: str
    source_ids: frozenset[str] = frozenset()


def open_encoder(spec: str, *, model: str | None, image_size: int, default_size: int) -> OpenedEncoder:
    """The encoder that `--encoder` names.

    spec: "random" or "imagenet" (timm's weights) for a timm architecture `model` (None: resnet18); a directory that
    pre-training wrote, or a run that holds one; "hf:OWNER/NAME" for such a directory on the Hugging Face hub.
    model: must be the directory's architecture where both are given. image_size: 0 means the one that the encoder was
    trained with, `default_size` where there is none.
    Raises UserError where there is no such encoder, and where a tensor of the architecture is missing or has another
    shape: nothing is ever left at its random initial value silently.
    """
    if spec in ("random", "imagenet"):
        name, size = model or DEFAULT_MODEL, image_size or default_size
        encoder = build_encoder(name, image_size=size, pretrained=spec == "imagenet")
        tensors = len(encoder.state_dict())
        said = "random weights" if spec == "random" else f"timm's ImageNet weights, {tensors} tensors"
        return OpenedEncoder(encoder, name, size, f"encoder: {name}, {said}")
    directory = _fetched(spec.removeprefix("hf:")) if spec.startswith("hf:") else _directory(Path(spec))
    config = _config(directory)
    architecture = config["architecture"]
    if model is not None and model.split(".")[0] != architecture.split(".")[0]:
        raise UserError(f"--encoder {spec} holds a {architecture}, not a {model}: drop --model or change it")
    size = image_size or int(config.get("pretrained_cfg", {}).get("input_size", [3, default_size])[1])
    encoder = _loaded(directory, architecture, size)
    tensors = len(encoder.state_dict())
    return OpenedEncoder(
        encoder,
        architecture,
        size,
        f"encoder: {architecture} from {spec}, {tensors} of {tensors} encoder tensors loaded",
        _source_ids(directory),
    )


def _directory(path: Path) -> Path:
    """The encoder directory that a path names: itself, or the one of a run."""
    for directory in (path, path / "encoder"):
        if (directory / "config.json").is_file():
            return directory
    raise UserError(
        f"--encoder {path}: no encoder there (no config.json); give RUN/encoder, random, imagenet or hf:OWNER/NAME"
    )


def _fetched(repository: str) -> Path:
    wanted = ["config.json", "model.safetensors", "source_ids.json"]
    try:
        directory = Path(snapshot_download(repository, allow_patterns=wanted))
    except (OSError, HfHubHTTPError, HFValidationError) as error:
        raise UserError(
            f"cannot fetch the encoder hf:{repository} from the Hugging Face hub ({type(error).__name__}): "
            "check the name, the connection and HF_HUB_OFFLINE"
        ) from error
    if not (directory / "config.json").is_file():
        raise UserError(f"hf:{repository} has no config.json: it is not a timm model")
    return directory


def _config(directory: Path) -> dict[str, Any]:
    try:
        config = json.loads((directory / "config.json").read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{directory / 'config.json'} cannot be read: {error}") from error
    if not isinstance(config, dict) or not timm.is_model(config.get("architecture", "")):
        raise UserError(f"{directory / 'config.json'} names no architecture that timm knows")
    return config


def _loaded(directory: Path, architecture: str, size: int) -> nn.Module:
    file = directory / "model.safetensors"
    try:
        saved = load_file(file)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{file} cannot be read ({error}): was the run interrupted?") from error
    wanted = build_encoder(architecture, image_size=size).state_dict()
    _refuse_incomplete(file, architecture, saved, wanted)
    encoder = create_backbone(
        f"local-dir:{directory}", size, pretrained=True
    )  # resamples position embeddings
    arrived = encoder.state_dict()
    if lost := [
        name
        for name, tensor in saved.items()
        if name in arrived and arrived[name].shape == tensor.shape and not torch.equal(arrived[name], tensor)
    ]:
        raise UserError(
            f"{file}: {len(lost)} of {len(wanted)} encoder tensors were not taken, e.g. {lost[0]}"
        )
    return encoder


def _refuse_incomplete(
    file: Path, architecture: str, saved: dict[str, Tensor], wanted: dict[str, Tensor]
) -> None:
    def fits(name: str) -> bool:
        resampled = "pos_embed" in name or "relative_position" in name or "attn_mask" in name
        return name in saved and (resampled or saved[name].shape == wanted[name].shape)

    unmatched = [name for name in wanted if not fits(name)]
    if unmatched:
        raise UserError(
            f"{file}: only {len(wanted) - len(unmatched)} of {len(wanted)} encoder tensors of {architecture} "
            f"are in it, e.g.  {unmatched[0]} is {'of another shape' if unmatched[0] in saved else 'missing'}; "
            "these are the weights of another architecture"
        )


def _source_ids(directory: Path) -> frozenset[str]:
    """The ids of the images that the encoder was pre-trained on; none where they are not recorded."""
    file = directory / "source_ids.json"
    if not file.is_file():
        return frozenset()
    way_out = (
        "copy it from the run again, or delete it: test images that were pre-trained on are then not told"
    )
    try:
        ids = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read ({error}): {way_out}") from error
    if not isinstance(ids, list) or not all(isinstance(each, str) for each in ids):
        raise UserError(f"{file} must hold a list of image ids: {way_out}")
    return frozenset(ids)
