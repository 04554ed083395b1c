"""Saliency maps of a classifier."""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

_FEWEST_CELLS = 7  # along a side of the feature map, as in ResNet-50 at 224 px


@dataclass(frozen=True, slots=True)
class Saliency:
    """layer: timm's name of the encoder layer. maps: (images, size, size) float32 in [0, 1]; 1 at the strongest
    evidence for a class, all 0 if there is none."""

    layer: str
    maps: Tensor


def grad_cam(network: nn.Module, encoder: nn.Module, inputs: Tensor, classes: Tensor) -> Saliency | None:
    """Grad-CAM of one class for each image: relu(sum_c a_c A_c), where a_c is the mean over the map of the gradient of
    the class's logit with respect to channel c of a feature map A (Selvaraju et al., 2017, arXiv 1610.02391).

    network: inputs (images, 3, size, size) to logits, in evaluation mode. encoder: the timm model in it. classes:
    (images,). The map is from the encoder's deepest stage with at least 7 cells along a side, upsampled bilinearly
    and divided by its maximum. None for an encoder without such a map, like most transformers.
    """
    from captum.attr import LayerActivation, LayerAttribution, LayerGradCam

    size = inputs.shape[-1]
    for stage in reversed(getattr(encoder, "feature_info", None) or []):
        if size // stage["reduction"] < _FEWEST_CELLS:
            continue
        layer = encoder.get_submodule(stage["module"])
        features = cast(Tensor, LayerActivation(network, layer).attribute(inputs[:1]))
        if features.ndim != 4 or features.shape[1] != stage["num_chs"]:
            return None
        with torch.enable_grad():
            maps = LayerGradCam(network, layer).attribute(inputs, target=classes, relu_attributions=True)
        maps = cast(Tensor, maps).detach().float()  # not float32 under autocast
        enlarged = LayerAttribution.interpolate(maps, (size, size), "bilinear")[:, 0]
        return Saliency(stage["module"], enlarged / enlarged.amax((1, 2), keepdim=True).clamp(min=1e-12))
    return None
