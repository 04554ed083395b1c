"""Save models as directories that timm, and through it transformers, can open."""

import copy
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from timm.data import resolve_model_data_config
from timm.models import save_for_hf
from torch import nn

from gravis_triton.errors import UserError
from gravis_triton.files import write_json
from gravis_triton.models.encoder import OWN_TAG, create_backbone, model_args


def save_encoder(encoder: nn.Module, directory: Path, *, image_size: int) -> None:
    """Write config.json and model.safetensors, timm's Hugging Face format.

    `timm.create_model("local-dir:DIRECTORY", pretrained=True)` restores the encoder bit for bit, and
    `transformers.AutoModel.from_pretrained(DIRECTORY)` wraps it. timm's transform for it matches its training: the
    central square at the image size, bilinear, with the same normalization.
    """
    _save(encoder, directory, image_size, {"pretrained_cfg": _provenance(encoder)})


def save_classifier(
    encoder: nn.Module,
    classifier: nn.Linear,
    directory: Path,
    *,
    image_size: int,
    mean: Sequence[float],
    std: Sequence[float],
    classes: Sequence[str],
) -> None:
    """Write a fine-tuned classifier in the format of `save_encoder`, as timm's model of the architecture with its
    classifier. `transformers.AutoModelForImageClassification` wraps it, with the names of the classes.

    mean, std: of the RGB channels, in [0, 1], used to normalize its images.
    Raises UserError if timm's classifier of the architecture is not a single linear layer.
    """
    architecture = cast(dict[str, Any], encoder.pretrained_cfg)["architecture"]
    model: Any = create_backbone(
        architecture, image_size, pretrained=False, classes=len(classes), model_args=model_args(encoder)
    )
    layer = model.get_classifier()
    if not isinstance(layer, nn.Linear):
        raise UserError(f"timm's classifier of {architecture} is not a single linear layer: use torch-export")
    layer.load_state_dict(classifier.state_dict())
    model.load_state_dict(encoder.state_dict(), strict=False)
    source = {"tag": OWN_TAG, "description": "Fine-tuned with gravis-triton"}
    config = {"pretrained_cfg": source, "label_names": list(classes)}
    _save(model, directory, image_size, config, mean=tuple(mean), std=tuple(std))


def _save(model: nn.Module, directory: Path, image_size: int, config: Mapping[str, Any], **normalization: Any) -> None:
    data_config = {
        **resolve_model_data_config(model),
        **normalization,
        "input_size": (3, image_size, image_size),
        "interpolation": "bilinear",
        "crop_pct": 1.0,
        "crop_mode": "center",
    }
    plain = copy.deepcopy(model).cpu().to(memory_format=torch.contiguous_format)  # safetensors requires it
    save_for_hf(plain, str(directory), model_config=dict(config), safe_serialization=True, data_config=data_config)
    saved = json.loads((directory / "config.json").read_text())
    saved["model_args"].pop("num_classes", None)  # transformers also passes its own
    write_json(directory / "config.json", saved)


def _provenance(encoder: nn.Module) -> dict[str, str]:
    """Tag and description of trained weights; license and paper of the published weights they started from are kept."""
    config = cast(dict[str, Any], encoder.pretrained_cfg)
    start = config.get("tag")
    if start is None:
        return {"tag": OWN_TAG, "description": "Pre-trained with gravis-triton from random weights"}
    if start.endswith(OWN_TAG):
        return {}
    name = f"{config['architecture']}.{start}"
    return {"tag": f"{start}_{OWN_TAG}", "description": f"Pre-trained with gravis-triton from timm's {name}"}
