"""From embeddings to the loss and its gradient: normalization, the exchange between processes, the backend."""

import importlib
import os
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor

from gravis_kernels.distributed import Exchange
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
    need_gradient: bool,
) -> tuple[Tensor, Tensor]:
    """The loss, and its gradient in the precision it was computed in; an empty tensor if not needed."""
    views = embeddings.shape[1]
    with torch.autocast(embeddings.device.type, enabled=False):
        rows = embeddings.detach().flatten(0, 1).to(precision_of(embeddings))
        exchange = None
        if process_group is not None:
            exchange = Exchange(rows, views, need_gradient, process_group)
        if normalize:
            rows, scales = normalized(rows)
        columns = rows if exchange is None else exchange.gather(rows)
        if extra_negatives is not None:
            columns = append(columns, extra_negatives, normalize)
        loss_and_gradient, columns = prepare(backend, columns, product_dtype, "gravis")
        loss, gradient = loss_and_gradient(
            columns,
            0 if exchange is None else exchange.start,
            len(rows),
            views,
            settings,
            need_gradient if exchange is None else exchange.need_gradient,
            extra=0 if extra_negatives is None else len(extra_negatives),
            unit_rows=normalize,
            gather=None if exchange is None else exchange.gather,
        )
        if process_group is not None:
            dist.all_reduce(loss, group=process_group)
        if gradient is None or not need_gradient:
            return loss, embeddings.new_empty(0)
        if normalize:
            along = (rows * gradient).sum(1, keepdim=True)
            gradient = gradient.addcmul_(rows, along, value=-1).mul_(scales)
        return loss, gradient.view_as(embeddings)


def precision_of(embeddings: Tensor) -> torch.dtype:
    """Of the loss, and of everything but products."""
    return torch.float64 if embeddings.dtype == torch.float64 else torch.float32


def product_dtype(embeddings: Tensor) -> torch.dtype:
    """What backend "triton" multiplies in."""
    device = embeddings.device.type
    if embeddings.dtype != torch.float64 and torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    return embeddings.dtype


def normalized(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of length 1, and what they were multiplied by, (rows, 1); 0 for a row that is all zero."""
    lengths = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    scales = lengths.reciprocal().masked_fill_(lengths == 0, 0)
    return rows * scales, scales


def append(columns: Tensor, extra_negatives: Tensor, normalize: bool) -> Tensor:
    """The columns, and below them the extra negatives as they were treated."""
    extra = extra_negatives.detach().to(columns.dtype)
    return torch.cat([columns, normalized(extra)[0] if normalize else extra])


def prepare(backend: Backend, columns: Tensor, product_dtype: torch.dtype, family: str) -> tuple[Any, Tensor]:
    """The computation that the backend names, and the columns in the precision that it multiplies in."""
    on_gpu = columns.device.type == "cuda"  # ROCm's devices are called so too
    name = ("triton" if on_gpu else "streaming") if backend == "auto" else backend
    if name == "triton":
        if not on_gpu and os.environ.get("TRITON_INTERPRET") != "1":
            raise RuntimeError(
                'backend "triton" needs embeddings on a CUDA or ROCm device, not on '
                f'"{columns.device.type}": move them, or pass backend="auto", or set TRITON_INTERPRET=1 in '
                "the environment before Python starts to try the kernels slowly"
            )
        columns = columns.to(product_dtype)
    module = importlib.import_module(f"gravis_kernels.{family}.{name}")
    return module.loss_and_gradient, columns.contiguous()
