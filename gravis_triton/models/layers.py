"""Layer-wise learning rate decay."""

from typing import Any

from timm.models import group_parameters
from torch import nn

from gravis_triton.errors import UserError
from gravis_triton.models.finetuned import FinetunedNetwork
from gravis_triton.models.segmenter import flat_name


def parameter_groups(
    model: FinetunedNetwork, encoder: nn.Module, *, weight_decay: float, layer_decay: float
) -> list[dict[str, Any]]:
    """Parameter groups for an optimizer, with the `lr_scale` that timm's schedules multiply the learning rate by.

    model: built on the encoder or its feature pyramid. encoder: the timm backbone, which defines the layers.
    The last of L encoder layers and everything on top have scale 1; layer l has layer_decay^(L - l) (BEiT, Bao et
    al., 2022, arXiv 2106.08254). Vectors (biases, normalization) have no weight decay; frozen parameters are in no
    group.
    Raises UserError for a layer_decay other than 1 if timm does not define the backbone's layers.
    """
    scales = _layer_scales(encoder, layer_decay) if layer_decay != 1 else None
    undecayed = {flat_name(name) for name in getattr(encoder, "no_weight_decay", set)()}
    inside = {id(parameter): flat_name(name) for name, parameter in model.pretrained.named_parameters()}
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for parameter in model.parameters():
        if not parameter.requires_grad:
            continue
        name = inside.get(id(parameter))
        scale = 1.0 if name is None or scales is None else scales[name]
        decay = 0.0 if parameter.ndim <= 1 or name in undecayed else weight_decay
        group = groups.setdefault((scale, decay), {"params": [], "lr_scale": scale, "weight_decay": decay})
        group["params"].append(parameter)
    return [groups[key] for key in sorted(groups)]


def _layer_scales(encoder: nn.Module, layer_decay: float) -> dict[str, float]:
    if not hasattr(encoder, "group_matcher"):
        model = encoder.pretrained_cfg["architecture"]  # type: ignore[index]
        raise UserError(
            f"--layer-decay {layer_decay} does not work with {model}, whose layers timm does not number: "
            "drop it or choose another model"
        )
    layers = group_parameters(encoder, encoder.group_matcher(coarse=False), reverse=True)  # type: ignore[operator]
    last = max(layers.values())
    return {flat_name(name): layer_decay ** (last - layer) for name, layer in layers.items()}
