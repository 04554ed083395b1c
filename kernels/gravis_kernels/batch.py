"""From embeddings to a loss: normalization and its Jacobian, and communication between processes."""

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from gravis_kernels.distributed import Exchange, Gather


@dataclass(frozen=True, slots=True)
class Batch:
    """The rows of this process (own rows), and the columns they are compared with.

    rows: (rows, dim), normalized by `scales` (rows, 1), or as given. columns: (B + M, dim), the rows of all
    processes, own rows starting at `start`, then extra negatives. wanted, need_gradient: whether this process needs
    the gradient, and whether any process does. gather: None for a single process.
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
    settings: str,
    *,
    least_views: int = 2,
) -> Batch:
    """Check sizes and settings across processes, normalize, and gather the rows of all processes."""
    exchange = None
    if process_group is not None:
        more = f"normalize {normalize}, {0 if extra_negatives is None else len(extra_negatives)} extra negatives"
        exchange = Exchange(rows, views, need_gradient, process_group, f"{settings}, {more}", least_views)
    scales = None
    if normalize:
        rows, scales = normalized(rows)
    columns = rows if exchange is None else exchange.gather(rows)
    if extra_negatives is not None:
        extra = extra_negatives.detach().to(columns.dtype)
        columns = torch.cat([columns, normalized(extra)[0] if normalize else extra])
    if exchange is None:
        return Batch(rows, scales, columns, 0, need_gradient, need_gradient, None)
    return Batch(rows, scales, columns, exchange.start, need_gradient, exchange.need_gradient, exchange.gather)


def finish(
    batch: Batch, loss: Tensor, gradient: Tensor | None, process_group: dist.ProcessGroup | None
) -> tuple[Tensor, Tensor]:
    """Sum the loss over processes; return it and the gradient for the unnormalized rows (empty if not wanted)."""
    if process_group is not None:
        dist.all_reduce(loss, group=process_group)
    if gradient is None or not batch.wanted:
        return loss, batch.rows.new_empty(0)
    if batch.scales is not None:
        along = (batch.rows * gradient).sum(1, keepdim=True)
        gradient = gradient.addcmul_(batch.rows, along, value=-1).mul_(batch.scales)
    return loss, gradient


def normalized(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (..., dim) scaled to length 1, and the scales (..., 1), which are 0 for all-zero rows."""
    # First divided by a power of two near the largest element, which rounds nothing: squares of elements above 1e19
    # or below 1e-23 are no float32 numbers.
    largest = torch.linalg.vector_norm(rows.detach(), torch.inf, dim=-1, keepdim=True)
    power = largest.clamp(min=torch.finfo(rows.dtype).tiny).log2().floor().exp2()
    rows = rows / power
    lengths = torch.linalg.vector_norm(rows, dim=-1, keepdim=True)
    # infinity instead of a division by 0, for which autograd would return NaN
    scales = lengths.masked_fill(lengths == 0, torch.inf).reciprocal()
    return rows * scales, scales / power
