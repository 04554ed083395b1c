"""Communication between processes for a loss over the global batch."""

from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import Tensor

# from values of this process's rows (rows, n) to those of all processes (B, n), in rank order
Gather = Callable[[Tensor], Tensor]


class Exchange:
    """Check that batch sizes are consistent across processes, then `gather` per-row values.

    start: index of this process's first row. need_gradient: whether any process needs a gradient.
    """

    def __init__(
        self, rows: Tensor, views: int, need_gradient: bool, group: dist.ProcessGroup, least_views: int = 2
    ) -> None:
        """rows: (own sources * views, dim), whose number may differ. Invalid sizes raise ValueError on all ranks."""
        own = [len(rows), views, rows.shape[1], rows.element_size(), int(need_gradient)]
        self.group = group
        described = _gather(rows.new_tensor(own, dtype=torch.int64), group).tolist()
        _check_together(described, least_views)
        self.counts = [count for count, *_ in described]
        self.start = sum(self.counts[: dist.get_rank(group)])
        self.need_gradient = any(needs for *_, needs in described)

    def gather(self, values: Tensor) -> Tensor:
        """Gather (own rows, n) to (B, n)."""
        longest = max(self.counts)
        padded = values.new_zeros(longest, values.shape[1])
        padded[: len(values)] = values
        everyone = _gather(padded, self.group)
        if min(self.counts) == longest:
            return everyone.flatten(0, 1)
        return torch.cat([block[:count] for block, count in zip(everyone, self.counts, strict=True)])


def _check_together(described: list[list[int]], least_views: int) -> None:
    """Every process checks the same sizes, so either all or none raise, and no process hangs."""
    if any(shape[1:4] != described[0][1:4] for shape in described):
        listed = "; ".join(
            f"rank {r}: views {v}, dim {d}, {8 * s} bit" for r, (_, v, d, s, _) in enumerate(described)
        )
        raise ValueError(f"views, dim and precision must be the same on all processes, got {listed}")
    views = described[0][1]
    if views < least_views:
        raise ValueError(f"the loss needs at least 2 views per source to have positives, got {views}")
    empty = [rank for rank, shape in enumerate(described) if shape[0] == 0]
    if empty:
        raise ValueError(f"every process needs at least 1 source, rank {', '.join(map(str, empty))} has none")
    if sum(shape[0] for shape in described) < 2 * views:
        raise ValueError("the loss needs at least 2 sources to have negatives, got 1 in the process group")


def _gather(tensor: Tensor, group: dist.ProcessGroup) -> Tensor:
    processes = dist.get_world_size(group)
    gathered = tensor.new_empty(processes * len(tensor), *tensor.shape[1:])
    dist.all_gather_into_tensor(gathered, tensor, group=group)
    return gathered.unflatten(0, (processes, -1))
