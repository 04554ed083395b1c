"""The one exchange between processes that a loss over the whole batch needs."""

import torch
import torch.distributed as dist
from torch import Tensor


def gather_rows(rows: Tensor, views: int, group: dist.ProcessGroup) -> tuple[Tensor, int]:
    """The rows of every process of the group in the order of the ranks, and where this process's own begin.

    rows: (own sources * views, dim). Processes may hold different numbers of sources, which costs one more small
    exchange to tell, but must agree on `views` and dim: ValueError on every rank otherwise.
    """
    shapes = _gather(rows.new_tensor([len(rows), views, rows.shape[1]], dtype=torch.int64), group).tolist()
    if any(shape[1:] != shapes[0][1:] for shape in shapes):
        listed = "; ".join(f"rank {r}: views {v}, dim {d}" for r, (_, v, d) in enumerate(shapes))
        raise ValueError(f"views and dim must be the same on all processes, got {listed}")
    counts = [shape[0] for shape in shapes]
    padded = rows.new_zeros(max(counts), rows.shape[1])
    padded[: len(rows)] = rows
    everyone = _gather(padded, group)
    start = sum(counts[: dist.get_rank(group)])
    if min(counts) == max(counts):
        return everyone.flatten(0, 1), start
    return torch.cat([block[:count] for block, count in zip(everyone, counts, strict=True)]), start


def _gather(tensor: Tensor, group: dist.ProcessGroup) -> Tensor:
    processes = dist.get_world_size(group)
    gathered = tensor.new_empty(processes * len(tensor), *tensor.shape[1:])
    dist.all_gather_into_tensor(gathered, tensor, group=group)
    return gathered.unflatten(0, (processes, -1))
