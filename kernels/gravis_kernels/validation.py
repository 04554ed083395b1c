"""What the losses accept; everything else is a ValueError with the value."""

import math
from collections.abc import Mapping
from typing import get_args

import torch
from torch import Tensor

from gravis_kernels.settings import Attention, GravisSettings, Negatives, Penalty

# what goes with a penalty where margin and negatives are left out
_MARGINS: Mapping[Penalty, float] = {"softplus": 0.0, "hinge": 0.5, "sigmoid": 0.0}
_NEGATIVES: Mapping[Penalty, Negatives] = {"softplus": "logsumexp", "hinge": "mean", "sigmoid": "mean"}


def complete_settings(
    margin: float | None,
    attention: Attention,
    attention_temperature: float,
    negatives: Negatives | None,
    penalty: Penalty | None,
    temperature: float,
    detach_attention: bool,
) -> GravisSettings:
    """The settings with None replaced: penalty "softplus" ("sigmoid" for attention "rank"), and what goes with it.

    ValueError where they contradict.
    """
    for name, value, choices in (
        ("attention", attention, get_args(Attention)),
        ("negatives", negatives, (*get_args(Negatives), None)),
        ("penalty", penalty, (*get_args(Penalty), None)),
    ):
        if value not in choices:
            raise ValueError(f"{name} must be one of {', '.join(filter(None, choices))}, got {value!r}")
    for name, number in (("temperature", temperature), ("attention_temperature", attention_temperature)):
        if not 0 < number < math.inf:
            raise ValueError(f"{name} must be positive and finite, got {number}")
    if margin is not None and not -math.inf < margin < math.inf:
        raise ValueError(f"margin must be finite, got {margin}")
    if attention == "rank":
        _check_rank(margin, negatives, penalty, detach_attention)
    chosen: Penalty = penalty or ("sigmoid" if attention == "rank" else "softplus")
    if chosen == "sigmoid" and negatives == "logsumexp":
        raise ValueError('penalty "sigmoid" is defined for negatives "mean" only, got negatives "logsumexp"')
    return GravisSettings(
        margin=_MARGINS[chosen] if margin is None else margin,
        attention=attention,
        attention_temperature=attention_temperature,
        negatives=negatives or _NEGATIVES[chosen],
        penalty=chosen,
        temperature=temperature,
        detach_attention=detach_attention,
    )


def _check_rank(
    margin: float | None, negatives: str | None, penalty: str | None, detach_attention: bool
) -> None:
    fixed = {"margin": (margin, 0.0), "negatives": (negatives, "mean"), "penalty": (penalty, "sigmoid")}
    for name, (given, needed) in fixed.items():
        if given is not None and given != needed:
            raise ValueError(f'attention "rank" has {name} {needed!r}, got {given!r}: leave {name} out')
    if detach_attention:
        raise ValueError('attention "rank" cannot be detached: leave detach_attention out')


def check_embeddings(embeddings: Tensor, sources_elsewhere: bool) -> None:
    """sources_elsewhere: other processes hold sources too, so that one is enough here."""
    if embeddings.ndim != 3:
        raise ValueError(f"embeddings must be (sources, views, dim), got shape {tuple(embeddings.shape)}")
    if embeddings.dtype not in (torch.float32, torch.bfloat16, torch.float16, torch.float64):
        raise ValueError(f"embeddings must be float32, bfloat16, float16 or float64, got {embeddings.dtype}")
    sources, views, dim = embeddings.shape
    if sources < (1 if sources_elsewhere else 2):
        raise ValueError(f"the loss needs at least 2 sources to have negatives, got {sources}")
    if views < 2:
        raise ValueError(f"the loss needs at least 2 views of a source to have positives, got {views}")
    if dim < 1:
        raise ValueError(f"embeddings must have at least 1 dimension, got shape {tuple(embeddings.shape)}")
