"""The statistics that an encoder's BatchNorm normalizes by in training."""

from typing import Any, Literal, cast

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from gravis_triton.models.encoder import OWN_TAG


def freezes_statistics(choice: Literal["auto", "frozen", "batch"], encoder: nn.Module) -> bool:
    """Whether training keeps the statistics of the encoder's BatchNorm instead of using those of each batch: if the
    choice is frozen, or auto and the encoder has published weights."""
    return from_published_weights(encoder) if choice == "auto" else choice == "frozen"


def from_published_weights(encoder: nn.Module) -> bool:
    """Whether the weights are published ones, such as ImageNet's, or were pre-trained from them, as far as their timm
    tag tells: weights of unknown origin have none."""
    return cast(dict[str, Any], encoder.pretrained_cfg).get("tag") not in (None, OWN_TAG)


def keep_statistics(encoder: nn.Module) -> None:
    """Let BatchNorm normalize by its running statistics, and no longer update them. Its weights and biases are still
    trained. Undone by `encoder.train()`."""
    for module in encoder.modules():
        if isinstance(module, _BatchNorm):
            module.eval()
