"""Launcher of the fused GraVIS kernels; the entry point is `loss_and_gradient`.

Nothing here synchronizes with the GPU, and no buffer grows faster than B (D + K).
"""

import torch
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

from gravis_kernels import configs
from gravis_kernels.configs import LaunchConfig
from gravis_kernels.distributed import Gather
from gravis_kernels.gravis import triton_logsumexp, triton_mean, triton_positives, triton_rank
from gravis_kernels.gravis.triton_work import Grid, Work, all_rows, blocks, own_rows, plan, rows_by_columns
from gravis_kernels.settings import SMALLEST_PLAIN_TEMPERATURE, GravisSettings

# pairs of groups are programs, enough for any GPU; the sums of a row take 4 bytes per group
LARGEST_GROUPS = 64


def loss_and_gradient(
    columns: Tensor,
    row_start: int,
    rows: int,
    views: int,
    settings: GravisSettings,
    need_gradient: bool,
    *,
    extra: int = 0,
    unit_rows: bool = False,
    gather: Gather | None = None,
) -> tuple[Tensor, Tensor | None]:
    """This process's share of the loss, and the gradient of the whole loss for its own rows.

    columns: (B + extra, dim), the views of all processes, grouped by source, then extra negatives, contiguous,
    float32, bfloat16 or float16; rows `row_start` to `row_start + rows` are this process's own. Returns
    the sum of l_i / B over own rows (scalar) and d(mean of all l_i) / d(own rows), shape (rows, dim), or None, both
    float32.
    unit_rows: no embedding is longer than 1. gather: gathers values of own rows from all processes, so that each
    computes only its own.

    ValueError: more than 64 views, more than 1024 dimensions, or an unsupported dtype.
    """
    check(columns, views)
    with torch.cuda.device_of(columns):
        work = plan(columns, row_start, rows, views, settings, extra)
        if settings.attention == "rank":
            return _rank(work, need_gradient)
        if settings.negatives == "logsumexp":
            return _logsumexp(work, need_gradient, unit_rows, gather)
        return _mean(work, need_gradient)


def check(columns: Tensor, views: int) -> None:
    if columns.dtype not in (torch.float32, torch.bfloat16, torch.float16):
        raise ValueError(
            f'backend "triton" supports float32, bfloat16 or float16 embeddings, got {columns.dtype}: '
            'use backend "streaming" or "reference"'
        )
    for name, value, limit in (
        ("views", views, configs.LARGEST_VIEWS),
        ("dimensions", columns.shape[1], configs.LARGEST_DIM),
    ):
        if value > limit:
            raise ValueError(f'backend "triton" supports up to {limit} {name}, got {value}: use backend "streaming"')


def _thresholds(work: Work) -> tuple[Tensor, Tensor]:
    """The table of thresholds and weights, padded by a tile of rows, and the slot of every anchor's views in it."""
    launch = work.launch("sweep")
    tile = launch.block_columns
    table = work.zeros(blocks(work.size + launch.block_rows, tile), work.slots, 2, tile)
    order = torch.empty(work.batch, work.views, dtype=torch.int8, device=work.columns.device)
    triton_positives.thresholds[(work.batch // work.views,)](
        work.columns, table, order, work.views, work.settings.margin, work.attention_log2_rate, work.weight_scale,
        TILE=tile, ATTENTION=work.settings.attention, **work.source | {"num_stages": 1},
    )  # fmt: skip
    return table, order


def _bounds(work: Work, table: Tensor, grid: Grid) -> Tensor:
    tiles = grid.column_tiles + grid.row_tiles
    bounds = work.new(tiles, 2, work.block_views)
    triton_mean.tile_bounds[(tiles,)](
        table, bounds, work.batch, work.slots, grid.first, grid.rows, grid.column_tiles,
        BLOCK_M=grid.launch.block_rows, BLOCK_N=grid.launch.block_columns, BLOCK_SLOTS=work.block_views,
    )  # fmt: skip
    return bounds


def _sweep(work: Work, grid: Grid, table: Tensor, statistics: bool, gradient: bool) -> tuple[Tensor, Tensor]:
    """Sums [split, row tile, slot, row, (h, u)] and gradient parts [split, row, D], empty if not requested."""
    hinge = work.settings.penalty == "hinge"
    bounds = _bounds(work, table, grid) if hinge else table
    sums = work.new(0)
    if statistics:
        sums = work.zeros(grid.splits, grid.row_tiles, work.slots, grid.launch.block_rows, 2)
    parts = work.new(grid.splits, grid.rows, work.columns.shape[1]) if gradient else work.new(0)
    triton_mean.sweep[grid.programs](
        work.columns, table, bounds, sums, parts, work.size, work.slots, work.views, *grid.range, work.log2_rate,
        BLOCK_SLOTS=work.block_views, PENALTY=work.settings.penalty, STATISTICS=statistics, GRADIENT=gradient,
        **grid.tile,
    )  # fmt: skip
    return sums, parts


def _mean(work: Work, need_gradient: bool) -> tuple[Tensor, Tensor | None]:
    table, order = _thresholds(work)
    grid = own_rows(work, "sweep", need_gradient)
    sums, parts = _sweep(work, grid, table, True, need_gradient)
    losses = work.new(work.rows // work.views)
    gradient = work.new(work.rows, work.columns.shape[1]) if need_gradient else None
    slope_rate = 1 / work.settings.temperature if work.settings.penalty == "sigmoid" else 1.0
    triton_positives.finish_mean[(len(losses),)](
        work.columns, order, sums, parts, losses, parts if gradient is None else gradient, work.size, work.batch,
        work.views, work.row_start, work.rows, grid.row_tiles, grid.splits, work.settings.margin,
        work.attention_log2_rate, work.attention_rate, slope_rate, work.weight_scale,
        BLOCK_M=grid.launch.block_rows, ATTENTION=work.settings.attention, PENALTY=work.settings.penalty,
        GRADIENT=need_gradient, **work.source,
    )  # fmt: skip
    loss = losses.sum()
    if work.extra and work.settings.penalty == "hinge":
        loss += 0 * work.columns[work.batch :].sum(dtype=torch.float32)  # propagates NaN, which exceeds no threshold
    return loss, gradient


def _rank(work: Work, need_gradient: bool) -> tuple[Tensor, Tensor | None]:
    table, order = _thresholds(work)
    grid = all_rows(work, "sweep")
    sums, _ = _sweep(work, grid, table, True, False)
    losses = work.new(work.batch // work.views)
    triton_rank.weigh_rank[(len(losses),)](
        work.columns, table, order, sums, losses, work.batch, work.views, grid.row_tiles, grid.splits,
        work.log2_rate, work.weight_scale, BLOCK_M=grid.launch.block_rows, BLOCK_N=grid.launch.block_columns,
        **work.source | {"num_warps": max(1, work.block_views**2 // 512)},
    )  # fmt: skip
    first = work.row_start // work.views
    own_losses = losses[first : first + work.rows // work.views]
    if not need_gradient:
        return own_losses.sum(), None
    own = own_rows(work, "sweep", True)
    _, parts = _sweep(work, own, table, False, True)
    gradient = work.new(work.rows, work.columns.shape[1])
    triton_rank.finish_rank[(len(own_losses),)](
        work.columns, order, sums, parts, gradient, work.batch, work.views, work.row_start, work.rows,
        grid.row_tiles, grid.splits, own.splits, 1 / work.settings.temperature, work.log2_rate, work.weight_scale,
        BLOCK_M=grid.launch.block_rows, **work.source,
    )  # fmt: skip
    return own_losses.sum(), gradient


def _logsumexp(work: Work, need_gradient: bool, unit_rows: bool, gather: Gather | None) -> tuple[Tensor, Tensor | None]:
    settings = work.settings
    plain = unit_rows and settings.temperature >= SMALLEST_PLAIN_TEMPERATURE
    names = {"ATTENTION": settings.attention, "PENALTY": settings.penalty}
    # a column's weight needs its own sums: computed here unless other processes send it
    own_only = gather is not None or not need_gradient
    first, rows = (work.row_start, work.rows) if own_only else (0, work.batch)
    sums = sum_exponentials(work, first, rows, plain)
    lse, weights = work.new(rows), work.new(rows)
    losses = work.new(rows // work.views)
    triton_logsumexp.weigh_logsumexp[(len(losses),)](
        work.columns, sums, lse, weights, losses, work.batch, work.views, first, rows, sums.shape[1],
        settings.margin, work.attention_log2_rate, work.log2_rate, work.weight_scale, PLAIN=plain, **names,
        **work.source,
    )  # fmt: skip
    skipped = (work.row_start - first) // work.views
    own_losses = losses[skipped : skipped + work.rows // work.views]
    if not need_gradient:
        return own_losses.sum(), None
    if gather is not None:
        lse, weights = (x.contiguous() for x in gather(torch.stack([lse, weights], 1)).unbind(1))
    lse, weights = work.of_all_columns(lse), work.of_all_columns(weights)
    own = own_rows(work, "gradient", True)
    parts = work.new(own.splits, work.rows, work.columns.shape[1])
    triton_logsumexp.grad_logsumexp[own.programs](
        work.columns, lse, weights, parts, work.size, work.views, *own.range, work.log2_rate,
        PENALTY=settings.penalty, PLAIN=plain, **own.tile | ({} if plain else own.roomy),
    )  # fmt: skip
    gradient = work.new(work.rows, work.columns.shape[1])
    triton_logsumexp.finish_logsumexp[(len(own_losses),)](
        work.columns, lse, parts, gradient, work.batch, work.views, work.row_start, work.rows, own.splits,
        settings.margin, work.attention_log2_rate, work.attention_rate, work.log2_rate, work.weight_scale,
        **names, **work.source,
    )  # fmt: skip
    return own_losses.sum(), gradient


def sum_exponentials(work: Work, first: int, rows: int, plain: bool, columns: Tensor | None = None) -> Tensor:
    """Sums of exp(s_in / t) over groups of columns, (1, groups, rows); unless plain, shifted by the groups' maxima,
    (2, groups, rows). columns: those of the other tower, if there are two."""
    grid = rows_by_columns(work, "sums", first, rows, False)
    if not plain:
        sums = work.new(2, grid.splits, rows)
        triton_logsumexp.sum_exp_shifted[grid.programs](
            work.columns, work.columns if columns is None else columns, sums, work.size, work.views, *grid.range,
            work.log2_rate, **grid.tile,
        )  # fmt: skip
        return sums
    symmetric = rows == work.size
    if symmetric:
        tile = max(grid.launch.block_rows, grid.launch.block_columns)
        row_group = col_group = tile * blocks(blocks(rows, tile), LARGEST_GROUPS)
    else:
        row_group, col_group = grid.launch.block_rows, grid.tiles_per_split * grid.launch.block_columns
    tiles = _descriptor(work, grid.launch)
    groups = blocks(work.size, col_group)
    sums = work.new(1, groups, rows)
    triton_logsumexp.sum_exp[(blocks(rows, row_group), groups)](
        work.columns, work.columns if tiles is None else tiles, sums, work.size, work.views, first, rows, row_group,
        col_group, work.log2_rate, TMA=tiles is not None, SYMMETRIC=symmetric, **grid.tile,
    )  # fmt: skip
    return sums


def _descriptor(work: Work, launch: LaunchConfig) -> TensorDescriptor | None:
    """Of tiles of columns, where the GPU loads whole ones by one (TMA): no registers for addresses."""
    whole = work.columns.shape[1] == launch.block_dim == launch.block_inner
    if not (work.machine.tma and whole and work.columns.data_ptr() % 16 == 0):
        return None
    return TensorDescriptor.from_tensor(work.columns, [launch.block_columns, launch.block_dim])


def log_sum_exp(sums: Tensor, temperature: float) -> Tensor:
    """t log(sum of exp(s / t)) over all columns, (rows,), from what `sum_exponentials` returns."""
    if len(sums) == 1:
        return temperature * sums[0].sum(0).log()
    totals, maxima = sums
    largest = maxima.amax(0)
    return largest + temperature * (totals * ((maxima - largest) / temperature).exp()).sum(0).log()
