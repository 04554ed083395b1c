"""Communication between processes for a loss over the global batch."""

from collections.abc import Callable
from typing import Any
from zlib import crc32

import torch
import torch.distributed as dist
from torch import Tensor

# from values of this process's rows (rows, n) to those of all processes (B, n), in rank order
Gather = Callable[[Tensor], Tensor]


class Exchange:
    """Check that batch sizes and settings are consistent across processes, then `gather` per-row values.

    start: index of this process's first row. need_gradient: whether any process needs a gradient.
    """

    def __init__(
        self,
        rows: Tensor,
        views: int,
        need_gradient: bool,
        group: dist.ProcessGroup,
        settings: str,
        least_views: int = 2,
    ) -> None:
        """rows: (own sources * views, dim), whose number may differ; settings: a text of all that must be the same.

        Invalid or different sizes and settings raise ValueError on all ranks.
        """
        own = [
            len(rows),
            views,
            rows.shape[1],
            rows.element_size(),
            int(need_gradient),
            crc32(settings.encode()),
        ]
        self.group = group
        described = _gather(rows.new_tensor(own, dtype=torch.int64), group).tolist()
        _check_together(described, least_views)
        _check_settings([fields[-1] for fields in described], settings, dist.get_rank(group))
        self.counts = [count for count, *_ in described]
        self.start = sum(self.counts[: dist.get_rank(group)])
        self.need_gradient = any(needs for *_, needs, _ in described)

    def gather(self, values: Tensor) -> Tensor:
        """Gather (own rows, n) to (B, n)."""
        longest = max(self.counts)
        padded = values.new_zeros(longest, values.shape[1])
        padded[: len(values)] = values
        everyone = _gather(padded, self.group)
        if min(self.counts) == longest:
            return everyone.flatten(0, 1)
        return torch.cat([block[:count] for block, count in zip(everyone, self.counts, strict=True)])


class GatherWithGradient(torch.autograd.Function):
    """`Exchange.gather`, whose backward pass sums the gradients of all processes: each must call it."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, exchange: Exchange) -> Tensor:
        ctx.exchange, ctx.own = exchange, slice(exchange.start, exchange.start + len(values))
        return exchange.gather(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        total = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total, group=ctx.exchange.group)
        return total[ctx.own], None


def value_of(number: Tensor | float, group: dist.ProcessGroup | None) -> float:
    """The number, to compare it across processes; 0 if there are none, or in compiled code, which cannot read it."""
    return 0.0 if group is None or torch.compiler.is_compiling() else float(number)


def scale_gradient(loss: Tensor, group: dist.ProcessGroup | None) -> Tensor:
    """The loss with its gradient multiplied by the number of processes, which DistributedDataParallel divides by."""
    return loss if group is None else loss + (dist.get_world_size(group) - 1) * (loss - loss.detach())


def _check_together(described: list[list[int]], least_views: int) -> None:
    """Every process checks the same sizes, so either all or none raise, and no process hangs."""
    if any(shape[1:4] != described[0][1:4] for shape in described):
        listed = "; ".join(f"rank {r}: views {v}, dim {d}, {8 * s} bit" for r, (_, v, d, s, *_) in enumerate(described))
        raise ValueError(f"views, dim and precision must be the same on all processes, got {listed}")
    views = described[0][1]
    if views < least_views:
        raise ValueError(f"the loss needs at least 2 views per source to have positives, got {views}")
    empty = [rank for rank, shape in enumerate(described) if shape[0] == 0]
    if empty:
        raise ValueError(f"every process needs at least 1 source, rank {', '.join(map(str, empty))} has none")
    if sum(shape[0] for shape in described) < 2 * views:
        raise ValueError("the loss needs at least 2 sources to have negatives, got 1 in the process group")


def _check_settings(hashes: list[int], own: str, rank: int) -> None:
    others = [str(other) for other, value in enumerate(hashes) if value != hashes[0]]
    if others:
        raise ValueError(
            f"settings must be the same on all processes, but rank {', '.join(others)} differs from rank 0; "
            f"rank {rank} has {own}"
        )


def _gather(tensor: Tensor, group: dist.ProcessGroup) -> Tensor:
    processes = dist.get_world_size(group)
    gathered = tensor.new_empty(processes * len(tensor), *tensor.shape[1:])
    gather = getattr(dist, "all_gather_single", dist.all_gather_into_tensor)  # its name from PyTorch 2.14 on
    gather(gathered, tensor, group=group)
    return gathered.unflatten(0, (processes, -1))
