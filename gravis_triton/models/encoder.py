"""Image encoders: timm backbones without their classifier."""

import copy
import difflib
import logging
from pathlib import Path
from typing import cast

import timm
import torch
from timm.data import resolve_model_data_config
from timm.models import is_model, list_models, save_for_hf
from torch import Tensor, nn

from gravis_triton.errors import UserError


def build_encoder(name: str, *, image_size: int, pretrained: bool = False) -> nn.Module:
    """A timm backbone from images (batch, 3, image_size, image_size) to features (batch, encoder.head_hidden_size).

    pretrained: start from the weights that timm publishes for it (ImageNet), fetched from the Hugging Face hub.
    Raises UserError for a name timm does not know, a size the backbone refuses, and weights that cannot be had.
    """
    architecture = name.split(".")[0]
    if not is_model(architecture):
        near = difflib.get_close_matches(architecture, list_models(), n=4)
        hint = f"; near names: {', '.join(near)}" if near else "; timm.list_models() lists them"
        raise UserError(f"unknown model {name!r}{hint}")
    encoder = create_backbone(name, image_size, pretrained)
    try:
        features = _feature_shape(encoder, image_size)
    except (RuntimeError, AssertionError, ValueError, IndexError) as error:
        raise _refused_size(name, image_size, str(error)) from error
    if features != (2, encoder.head_hidden_size):
        raise UserError(
            f"model {name!r} gives features of shape {features}, not one vector per image: choose another"
        )
    return encoder


def create_backbone(name: str, image_size: int, pretrained: bool) -> nn.Module:
    """timm's backbone without classifier, told the image size if it depends on it. Raises UserError."""
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # its retries are summed up in our one line
    try:
        try:  # backbones whose parameters depend on the image size are told it; the others do not know the argument
            return timm.create_model(name, pretrained=pretrained, num_classes=0, img_size=image_size)
        except TypeError:
            return timm.create_model(name, pretrained=pretrained, num_classes=0)
    except OSError as error:
        raise UserError(
            f"cannot fetch the ImageNet weights of {name!r} from the Hugging Face hub ({type(error).__name__}): "
            "check the connection and HF_HUB_OFFLINE, or start from random weights"
        ) from error
    except (RuntimeError, AssertionError, ValueError) as error:
        if pretrained and "pretrained" in str(error).lower():
            raise UserError(
                f"timm has no pretrained weights for {name!r}: start from random weights"
            ) from error
        raise _refused_size(name, image_size, str(error)) from error


def _refused_size(name: str, image_size: int, reason: str) -> UserError:
    lines = reason.splitlines() or ["no reason given"]
    return UserError(
        f"model {name!r} refuses --image-size {image_size} ({lines[0]}); try a multiple of 32, e.g. 224"
    )


@torch.no_grad()
def _feature_shape(encoder: nn.Module, image_size: int) -> tuple[int, ...]:
    training = encoder.training
    features = encoder.eval()(torch.zeros(2, 3, image_size, image_size))
    encoder.train(training)
    return tuple(features.shape)


def normalization(encoder: nn.Module) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of the RGB channels, in [0, 1], that the backbone expects."""
    config = resolve_model_data_config(encoder)
    return tuple(config["mean"]), tuple(config["std"])


def save_encoder(encoder: nn.Module, directory: Path, *, image_size: int) -> None:
    """Write config.json and model.safetensors so that `timm.create_model("local-dir:DIRECTORY", pretrained=True)`
    gives the encoder back bit for bit, with the image size and normalisation it was trained with."""
    data_config = {**resolve_model_data_config(encoder), "input_size": (3, image_size, image_size)}
    plain = copy.deepcopy(encoder).cpu().to(memory_format=torch.contiguous_format)  # as safetensors wants it
    save_for_hf(plain, str(directory), safe_serialization=True, data_config=data_config)


class Pretrainer(nn.Module):
    """Encoder and projection head: images (batch, 3, size, size) to embeddings (batch, dim), not normalised.

    The projection head has two layers, as published, the inner one `hidden` wide (0: as wide as the features); it is
    thrown away after pre-training.
    """

    def __init__(self, encoder: nn.Module, *, hidden: int, dim: int) -> None:
        super().__init__()
        self.encoder = encoder
        features = cast(int, encoder.head_hidden_size)
        hidden = hidden or features
        self.projection = nn.Sequential(
            nn.Linear(features, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, dim)
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.projection(self.encoder(images))
