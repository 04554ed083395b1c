"""An encoder with a segmentation decoder on top."""

import re
from typing import Any

import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn

from gravis_triton.errors import UserError
from gravis_triton.models.encoder import eval_mode, model_args
from gravis_triton.models.finetuned import FinetunedNetwork


class Segmenter(FinetunedNetwork):
    """Images (batch, 3, size, size) to lesion logits (batch, 1, size, size).

    network: segmentation-models-pytorch's decoder and segmentation head on a timm backbone as a feature pyramid.
    """

    def __init__(self, network: nn.Module, pretrained_cfg: Any) -> None:
        super().__init__()
        self.network = network
        self.pretrained_cfg = pretrained_cfg

    @property
    def pretrained(self) -> nn.Module:
        return self.network.encoder.model  # type: ignore[union-attr,return-value]

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images)


def build_segmenter(
    encoder: nn.Module, *, architecture: str, decoder: str, image_size: int
) -> tuple[Segmenter, int]:
    """A segmentation network on a copy of `encoder`, and the number of tensors copied: all of its feature pyramid.

    architecture: the encoder's timm name. decoder: unet, unetplusplus, deeplabv3plus or fpn.
    Raises UserError for a backbone without a feature pyramid, an unsupported image size, and an encoder that lacks a
    tensor of the pyramid.
    """
    if image_size % 32:
        near = max(32, round(image_size / 32) * 32)
        raise UserError(f"--image-size {image_size}: segmentation needs a multiple of 32, e.g. {near}")
    name = f"tu-{architecture}"
    unknown_to_pyramids = ("global_pool", "in_chans")
    arguments = {key: value for key, value in model_args(encoder).items() if key not in unknown_to_pyramids}
    arguments |= {"encoder_weights": None, "classes": 1}
    try:
        try:  # as in `create_backbone`
            network = smp.create_model(decoder, name, **arguments, img_size=image_size)
        except TypeError:
            network = smp.create_model(decoder, name, **arguments)
        segmenter = Segmenter(network, encoder.pretrained_cfg)
        tensors = copy_encoder(encoder, segmenter.pretrained)
        _check_output(segmenter, image_size)
    except UserError:
        raise
    except (
        RuntimeError,
        ValueError,
        AssertionError,
        TypeError,
        KeyError,
        IndexError,
        AttributeError,
    ) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(
            f"--decoder {decoder} does not work with {architecture} at {image_size} px ({reason}); "
            "resnet, efficientnet, convnext and swin backbones have the feature pyramid that it needs"
        ) from error
    return segmenter, tensors


@torch.no_grad()
def copy_encoder(encoder: nn.Module, pyramid: nn.Module) -> int:
    """Copy every tensor of timm's feature pyramid from the encoder; returns the number of tensors.

    timm renames a module `stages.0` to `stages_0` in a pyramid; otherwise the names agree.
    Raises UserError if a tensor is missing or has another shape.
    """
    known = {flat_name(name): tensor for name, tensor in encoder.state_dict().items()}
    expected = pyramid.state_dict()
    for name, tensor in expected.items():
        source = known.get(flat_name(name))
        if source is None or source.shape != tensor.shape:
            found = sum(flat_name(each) in known for each in expected)
            raise UserError(
                f"the encoder has only {found} of {len(expected)} tensors of the segmentation network's encoder: "
                f"{name} {'is missing' if source is None else 'has another shape'}"
            )
        tensor.copy_(source)
    return len(expected)


def flat_name(name: str) -> str:
    """A tensor's name, made the same for a backbone and its pyramid."""
    return re.sub(r"^(model\.)?", "", name).replace(".", "_")


def _check_output(segmenter: Segmenter, image_size: int) -> None:
    with eval_mode(segmenter):
        logits = segmenter(torch.zeros(1, 3, image_size, image_size))
    if logits.shape != (1, 1, image_size, image_size):
        raise ValueError(f"its logits have shape {tuple(logits.shape)}")
