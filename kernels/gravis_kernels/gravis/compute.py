"""Compute the loss and its gradient from embeddings with the requested backend."""

import importlib
import os
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor

from gravis_kernels.batch import finish, gather_batch
from gravis_kernels.settings import GravisSettings

Backend = Literal["auto", "triton", "streaming", "reference"]


@torch.no_grad()
def compute(
    embeddings: Tensor,
    extra_negatives: Tensor | None,
    settings: GravisSettings,
    process_group: dist.ProcessGroup | None,
    normalize: bool,
    backend: Backend,
    product_dtype: torch.dtype,
    learned: float,
    need_gradient: bool,
) -> tuple[Tensor, Tensor]:
    """The loss, and its gradient in the dtype of the computation; an empty tensor if not needed.

    learned: a temperature that the embeddings contain, to compare it across processes.
    """
    views = embeddings.shape[1]
    with torch.autocast(embeddings.device.type, enabled=False):
        rows = embeddings.detach().flatten(0, 1).to(precision_of(embeddings))
        batch = gather_batch(
            rows,
            views,
            extra_negatives,
            normalize,
            need_gradient,
            process_group,
            f"{settings}, learned {learned}",
        )
        loss_and_gradient, columns = prepare(backend, batch.columns, product_dtype, "gravis")
        loss, gradient = loss_and_gradient(
            columns,
            batch.start,
            len(rows),
            views,
            settings,
            batch.need_gradient,
            extra=0 if extra_negatives is None else len(extra_negatives),
            unit_rows=normalize,
            gather=batch.gather,
        )
        loss, gradient = finish(batch, loss, gradient, process_group)
        return loss, gradient.view_as(embeddings) if need_gradient else gradient


def precision_of(embeddings: Tensor) -> torch.dtype:
    """The dtype of the loss and of everything except matrix products."""
    return torch.float64 if embeddings.dtype == torch.float64 else torch.float32


def product_dtype(embeddings: Tensor) -> torch.dtype:
    """The dtype of matrix products in backend "triton"."""
    device = embeddings.device.type
    if embeddings.dtype != torch.float64 and torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    return embeddings.dtype


def prepare(backend: Backend, columns: Tensor, product_dtype: torch.dtype, family: str) -> tuple[Any, Tensor]:
    """The backend's `loss_and_gradient`, and the columns in the dtype of its matrix products."""
    on_gpu = columns.device.type == "cuda"  # also the name of ROCm devices
    name = ("triton" if on_gpu else "streaming") if backend == "auto" else backend
    if name == "triton":
        if not on_gpu and os.environ.get("TRITON_INTERPRET") != "1":
            raise RuntimeError(
                'backend "triton" needs embeddings on a CUDA or ROCm device, not on '
                f'"{columns.device.type}": move them, or pass backend="auto", or set TRITON_INTERPRET=1 in '
                "the environment before Python starts (slow: runs the kernels in the interpreter)"
            )
        columns = columns.to(product_dtype)
    module = importlib.import_module(f"gravis_kernels.{family}.{name}")
    return module.loss_and_gradient, columns.contiguous()
