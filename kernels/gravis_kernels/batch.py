"""Between embeddings and a loss: normalization and its Jacobian, and what the processes tell each other."""

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from gravis_kernels.distributed import Exchange, Gather


@dataclass(frozen=True, slots=True)
class Batch:
    """Own rows, and all that they are compared with.

    rows: (rows, dim), normalized by `scales`, (rows, 1), or as they are. columns: (B + M, dim), the rows of all
    processes, own ones from `start` on, then extra negatives. wanted, need_gradient: whether this process wants the
    gradient, and whether any does. gather: None of one process.
    """

    rows: Tensor
    scales: Tensor | None
    columns: Tensor
    start: int
    wanted: bool
    need_gradient: bool
    gather: Gather | None


def gather_batch(
    rows: Tensor,
    views: int,
    extra_negatives: Tensor | None,
    normalize: bool,
    need_gradient: bool,
    process_group: dist.ProcessGroup | None,
    *,
    least_views: int = 2,
) -> Batch:
    """Agree on sizes with the other processes, normalize, and bring all rows together."""
    exchange = None
    if process_group is not None:
        exchange = Exchange(rows, views, need_gradient, process_group, least_views)
    scales = None
    if normalize:
        rows, scales = normalized(rows)
    columns = rows if exchange is None else exchange.gather(rows)
    if extra_negatives is not None:
        extra = extra_negatives.detach().to(columns.dtype)
        columns = torch.cat([columns, normalized(extra)[0] if normalize else extra])
    if exchange is None:
        return Batch(rows, scales, columns, 0, need_gradient, need_gradient, None)
    return Batch(
        rows, scales, columns, exchange.start, need_gradient, exchange.need_gradient, exchange.gather
    )


def finish(
    batch: Batch, loss: Tensor, gradient: Tensor | None, process_group: dist.ProcessGroup | None
) -> tuple[Tensor, Tensor]:
    """The loss of all processes, and the gradient for the rows before normalization; an empty tensor if not wanted."""
    if process_group is not None:
        dist.all_reduce(loss, group=process_group)
    if gradient is None or not batch.wanted:
        return loss, batch.rows.new_empty(0)
    if batch.scales is not None:
        along = (batch.rows * gradient).sum(1, keepdim=True)
        gradient = gradient.addcmul_(batch.rows, along, value=-1).mul_(batch.scales)
    return loss, gradient


def normalized(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (..., dim) of length 1, and what they were multiplied by, (..., 1); 0 for a row that is all zero."""
    lengths = torch.linalg.vector_norm(rows, dim=-1, keepdim=True)
    scales = lengths.masked_fill(
        lengths == 0, torch.inf
    ).reciprocal()  # so that autograd finds 0 there, not NaN
    return rows * scales, scales
