"""Input validation of the losses: invalid input raises an error that states the value."""

from typing import Literal, get_args

import torch
import torch.distributed as dist
from torch import Tensor

from gravis_kernels.gravis.compute import Backend

Reduction = Literal["mean", "none"]


def check_backend(backend: str) -> None:
    if backend not in get_args(Backend):
        raise ValueError(f"backend must be one of {', '.join(get_args(Backend))}, got {backend!r}")


def check_tensor(name: str, value: Tensor) -> None:
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, got {type(value).__name__}")
    if value.layout != torch.strided or value.is_nested:
        raise ValueError(f"{name} must be a dense tensor, got {'nested' if value.is_nested else value.layout}")
    if value.is_meta:
        raise ValueError(f"{name} is on the meta device, which holds no values")


def check_embeddings(embeddings: Tensor, alone: bool) -> None:
    """alone: no other process takes part; otherwise sizes are checked once all are known, so that all raise."""
    check_tensor("embeddings", embeddings)
    if embeddings.ndim != 3:
        raise ValueError(f"embeddings must be (sources, views, dim), got shape {tuple(embeddings.shape)}")
    _check_dtype(embeddings)
    sources, views, dim = embeddings.shape
    if dim < 1:
        raise ValueError(f"embeddings must have at least 1 dimension, got shape {tuple(embeddings.shape)}")
    if alone and sources < 2:
        raise ValueError(f"the loss needs at least 2 sources to have negatives, got {sources}")
    if alone and views < 2:
        raise ValueError(f"the loss needs at least 2 views per source to have positives, got {views}")


def check_member(process_group: dist.ProcessGroup | None) -> None:
    """Raise ValueError on a rank that is not in the group."""
    # what torch.distributed.new_group returns on such a rank
    if dist.is_available() and process_group is dist.GroupMember.NON_GROUP_MEMBER:
        raise ValueError("this process is not in process_group: call the loss on its members only")


def check_labeled(embeddings: Tensor, labels: Tensor, alone: bool) -> None:
    """Like `check_embeddings`, for rows with labels."""
    check_tensor("embeddings", embeddings)
    check_tensor("labels", labels)
    if embeddings.ndim != 2 or embeddings.shape[1] < 1:
        raise ValueError(f"embeddings must be (rows, dim), got shape {tuple(embeddings.shape)}")
    _check_dtype(embeddings)
    rows = len(embeddings)
    if alone and rows < 2:
        raise ValueError(f"the loss needs at least 2 rows, got {rows}")
    if labels.shape != (rows,):
        raise ValueError(f"labels must have shape ({rows},), one per embedding, got {tuple(labels.shape)}")
    if labels.is_floating_point() or labels.is_complex():
        raise ValueError(f"labels must be integers, got {labels.dtype}")
    if labels.device != embeddings.device:
        raise ValueError(f"labels must be on {embeddings.device} like the embeddings, got {labels.device}")


def check_extra_negatives(extra_negatives: Tensor, embeddings: Tensor, name: str = "extra_negatives") -> None:
    check_tensor(name, extra_negatives)
    dim = embeddings.shape[-1]
    if extra_negatives.ndim != 2 or extra_negatives.shape[1] != dim:
        raise ValueError(f"{name} must be (any, {dim}), got shape {tuple(extra_negatives.shape)}")
    if not extra_negatives.is_floating_point():
        raise ValueError(f"{name} must be floating point, got {extra_negatives.dtype}")
    if extra_negatives.device != embeddings.device:
        raise ValueError(f"{name} must be on {embeddings.device} like the embeddings, got {extra_negatives.device}")


def check_towers(image_features: Tensor, text_features: Tensor, alone: bool) -> None:
    """Like `check_embeddings`, for pairs of rows."""
    check_tensor("image_features", image_features)
    check_tensor("text_features", text_features)
    if image_features.ndim != 2 or image_features.shape[1] < 1:
        raise ValueError(f"image_features must be (pairs, dim), got shape {tuple(image_features.shape)}")
    _check_dtype(image_features)
    if alone and len(image_features) < 2:
        raise ValueError(f"the loss needs at least 2 pairs, got {len(image_features)}")
    for what, value, expected in (
        ("shape", tuple(text_features.shape), tuple(image_features.shape)),
        ("dtype", text_features.dtype, image_features.dtype),
        ("device", text_features.device, image_features.device),
    ):
        if value != expected:
            raise ValueError(f"text_features must have the same {what} as image_features, {expected}, got {value}")


def check_references(references: tuple[Tensor, Tensor], embeddings: Tensor) -> None:
    rows, labels = references
    check_tensor("references", rows)
    check_labeled(rows, labels, alone=False)
    if not len(rows):
        raise ValueError("references must have at least one row")
    if (rows.shape[1], rows.dtype, rows.device) != (embeddings.shape[-1], embeddings.dtype, embeddings.device):
        raise ValueError(
            f"references must be (any, {embeddings.shape[-1]}), {embeddings.dtype}, on {embeddings.device} like the "
            f"embeddings, got shape {tuple(rows.shape)}, {rows.dtype}, on {rows.device}"
        )


def check_reduction(
    reduction: str,
    weight: Tensor | None,
    shape: torch.Size,
    device: torch.device,
    plain: bool,
    backend: Backend,
) -> None:
    """shape: that of the losses of single anchors. plain: nothing else but the embeddings and constants is given."""
    if reduction not in get_args(Reduction):
        raise ValueError(f"reduction must be one of {', '.join(get_args(Reduction))}, got {reduction!r}")
    if weight is not None:
        check_tensor("weight", weight)
        if weight.shape != shape or weight.device != device:
            raise ValueError(
                f"weight must have shape {tuple(shape)}, on {device}, got {tuple(weight.shape)}, on {weight.device}"
            )
        if weight.is_cpu and not torch.compiler.is_compiling() and not (weight >= 0).all():
            raise ValueError(f"weight must be at least 0, got {weight.min()}")
    if not plain and backend in ("triton", "streaming"):
        raise ValueError(f'backend "{backend}" computes the mean over plain embeddings only: use backend "auto"')


def _check_dtype(embeddings: Tensor) -> None:
    if embeddings.dtype not in (torch.float32, torch.bfloat16, torch.float16, torch.float64):
        raise ValueError(f"embeddings must be float32, bfloat16, float16 or float64, got {embeddings.dtype}")
