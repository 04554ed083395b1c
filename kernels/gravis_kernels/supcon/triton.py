"""SupCon on a GPU, by the kernels of log-sum-exp negatives: every row is a source of its own."""

import torch
from torch import Tensor

from gravis_kernels.distributed import Gather
from gravis_kernels.gravis import triton_logsumexp
from gravis_kernels.gravis.triton import check
from gravis_kernels.gravis.triton_work import own_rows, plan
from gravis_kernels.settings import SMALLEST_PLAIN_TEMPERATURE, GravisSettings
from gravis_kernels.supcon.positives import find_positives


def loss_and_gradient(
    columns: Tensor,
    row_start: int,
    rows: int,
    labels: Tensor,
    temperature: float,
    need_gradient: bool,
    *,
    unit_rows: bool = False,
    gather: Gather | None = None,
) -> tuple[Tensor, Tensor | None]:
    """The contract of `gravis_kernels.supcon.streaming.loss_and_gradient`; columns float32, bfloat16 or float16.

    ValueError: more than 1024 dimensions, another dtype.
    """
    check(columns, 1)
    own, batch = slice(row_start, row_start + rows), len(labels)
    positives = find_positives(columns[:batch], labels, temperature)
    plain = unit_rows and temperature >= SMALLEST_PLAIN_TEMPERATURE
    with torch.cuda.device_of(columns):
        settings = GravisSettings(temperature=temperature)
        work = plan(columns, row_start, rows, 1, settings, extra=len(columns) - batch)
        grid = own_rows(work, 1)
        partial = work.new(grid.splits, 2, rows)
        triton_logsumexp.soft_maximum[grid.programs](
            columns, partial, work.size, 1, *grid.range, work.log2_rate, PLAIN=plain,
            **work.tile | {"num_warps": 4},
        )  # fmt: skip
        maxima, totals = partial.unbind(1)
        soft = (maxima / temperature + totals.log()).logsumexp(0) * temperature
        loss = positives.loss(own, columns, soft)
        if not need_gradient:
            return loss, None
        if gather is not None:
            soft = gather(soft[:, None])[:, 0]
        # 1 of an anchor: weights of the size that float16 was scaled for
        weights = (positives.weights > 0) * work.weight_scale
        if plain:
            weights = weights * torch.exp(soft / -temperature)
        soft, weights = work.of_all_columns(soft), work.of_all_columns(weights)
        grid = own_rows(work, work.chunks)
        parts = work.new(grid.splits, rows, columns.shape[1])
        triton_logsumexp.pull_logsumexp[grid.programs](
            columns, soft, weights, parts, work.size, 1, *grid.range, work.log2_rate,
            PENALTY="softplus", PLAIN=plain, **work.tile,
        )  # fmt: skip
        pulled = parts.sum(0) * (positives.weights.amax() / work.weight_scale)
    return loss, pulled + positives.gradient(own)
