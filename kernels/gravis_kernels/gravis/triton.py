"""The fused losses on a GPU: which kernels run, in which order, on which tiles.

One entry, `loss_and_gradient`. Nothing here waits for the GPU, and no buffer grows faster than B (D + K).
"""

from dataclasses import dataclass
from typing import Any

import torch
import triton
from torch import Tensor

from gravis_kernels import configs
from gravis_kernels.gravis import triton_logsumexp, triton_mean, triton_positives, triton_rank
from gravis_kernels.settings import GravisSettings

LOG2_E = 1.4426950408889634
# float16 loses what is below 6e-8; no entry of a weighted tile exceeds 2, so this keeps it under 65504
FLOAT16_SCALE = 2.0**14


def loss_and_gradient(
    columns: Tensor, row_start: int, rows: int, views: int, settings: GravisSettings, need_gradient: bool
) -> tuple[Tensor, Tensor | None]:
    """Share of the own rows in the loss, and the gradient of the whole loss for them.

    columns: (B, dim), the views of all sources of all processes, source after source, contiguous, float32,
    bfloat16 or float16; rows `row_start` to `row_start + rows` are this process's own. Returns the sum of l_i / B
    over own rows (scalar) and d(mean of all l_i) / d(own rows), shape (rows, dim), or None, both float32.

    ValueError: more than 64 views, more than 1024 dimensions, another dtype.
    """
    _check(columns, views)
    with torch.cuda.device_of(columns):
        work = _plan(columns, row_start, rows, views, settings)
        if settings.attention == "rank":
            return _rank(work, need_gradient)
        if settings.negatives == "logsumexp":
            return _logsumexp(work, need_gradient)
        return _mean(work, need_gradient)


def _check(columns: Tensor, views: int) -> None:
    if columns.dtype not in (torch.float32, torch.bfloat16, torch.float16):
        raise ValueError(
            f'backend "triton" takes float32, bfloat16 or float16 embeddings, got {columns.dtype}: '
            'use backend "streaming" or "reference"'
        )
    for name, value, limit in (
        ("views", views, configs.LARGEST_VIEWS),
        ("dimensions", columns.shape[1], configs.LARGEST_DIM),
    ):
        if value > limit:
            raise ValueError(
                f'backend "triton" takes up to {limit} {name}, got {value}: use backend "streaming"'
            )


@dataclass(frozen=True, slots=True)
class _Work:
    """One call: its tensors and numbers, and the constants that all its kernels are compiled with."""

    columns: Tensor
    row_start: int
    rows: int
    views: int
    settings: GravisSettings
    machine: configs.Machine
    launch: configs.Launch
    constants: dict[str, Any]

    @property
    def size(self) -> int:
        return self.columns.shape[0]

    @property
    def slots(self) -> int:
        """Thresholds of an anchor."""
        return self.views if self.settings.attention == "rank" else self.views - 1

    @property
    def column_tiles(self) -> int:
        return triton.cdiv(self.size, self.launch.block_columns)

    @property
    def chunks(self) -> int:
        return triton.cdiv(self.columns.shape[1], self.launch.block_dim)

    @property
    def block_views(self) -> int:
        return max(16, triton.next_power_of_2(self.views))

    @property
    def tile(self) -> dict[str, Any]:
        """Constants of the kernels that walk over tiles."""
        sizes = self.launch
        return self.constants | {
            "BLOCK_M": sizes.block_rows, "BLOCK_N": sizes.block_columns, "BLOCK_D": sizes.block_dim,
            "BLOCK_INNER": sizes.block_inner, "num_warps": sizes.num_warps, "num_stages": sizes.num_stages,
        }  # fmt: skip

    @property
    def source(self) -> dict[str, Any]:
        """Constants of the kernels with a program a source."""
        return self.constants | {"BLOCK_K": self.block_views, "num_warps": 4, "num_stages": 1}

    @property
    def weight_scale(self) -> float:
        return FLOAT16_SCALE if self.columns.dtype == torch.float16 else 1.0

    @property
    def log2_rate(self) -> float:
        return LOG2_E / self.settings.temperature

    @property
    def attention_log2_rate(self) -> float:
        return LOG2_E / self.settings.attention_temperature

    @property
    def attention_rate(self) -> float:
        constant = self.settings.attention == "uniform" or self.settings.detach_attention
        return 0.0 if constant else 1 / self.settings.attention_temperature

    def new(self, *shape: int) -> Tensor:
        return self.columns.new_empty(shape, dtype=torch.float32)

    def zeros(self, *shape: int) -> Tensor:
        return self.columns.new_zeros(shape, dtype=torch.float32)


@dataclass(frozen=True, slots=True)
class _Grid:
    """Rows first .. first + rows, in tiles, each against all columns in `splits` runs of tiles."""

    first: int
    rows: int
    row_tiles: int
    splits: int
    tiles_per_split: int
    chunks: int

    @property
    def programs(self) -> tuple[int, int, int]:
        return self.row_tiles, self.splits, self.chunks

    @property
    def range(self) -> tuple[int, int, int]:
        return self.first, self.rows, self.tiles_per_split


def _plan(columns: Tensor, row_start: int, rows: int, views: int, settings: GravisSettings) -> _Work:
    machine = configs.machine(columns.device)
    launch = configs.launch(machine.architecture, columns.shape[1], columns.element_size())
    constants = {"D": columns.shape[1], "PRECISION": machine.precision, "UPCAST": machine.upcast}
    return _Work(columns, row_start, rows, views, settings, machine, launch, constants)


def _grid(work: _Work, first: int, rows: int, chunks: int) -> _Grid:
    """Columns are split only where rows alone leave processors idle."""
    row_tiles = triton.cdiv(rows, work.launch.block_rows)
    wanted = max(1, 2 * work.machine.processors // (row_tiles * chunks))
    tiles_per_split = triton.cdiv(work.column_tiles, min(wanted, work.column_tiles))
    splits = triton.cdiv(work.column_tiles, tiles_per_split)
    return _Grid(first, rows, row_tiles, splits, tiles_per_split, chunks)


def _own(work: _Work, chunks: int) -> _Grid:
    return _grid(work, work.row_start, work.rows, chunks)


def _everyone(work: _Work) -> _Grid:
    return _grid(work, 0, work.size, 1)


def _thresholds(work: _Work) -> tuple[Tensor, Tensor]:
    """The table of thresholds and weights, with a tile of rows to spare at the end, and the slots of its views."""
    tile = work.launch.block_columns
    tiles = triton.cdiv(work.size + work.launch.block_rows, tile)
    table = work.zeros(tiles, work.slots, 2, tile)
    order = torch.empty(work.size, work.views, dtype=torch.int8, device=work.columns.device)
    triton_positives.thresholds[(work.size // work.views,)](
        work.columns, table, order, work.views, work.settings.margin, work.attention_log2_rate, work.weight_scale,
        TILE=tile, ATTENTION=work.settings.attention, **work.source,
    )  # fmt: skip
    return table, order


def _bounds(work: _Work, table: Tensor, grid: _Grid) -> Tensor:
    tiles = work.column_tiles + grid.row_tiles
    bounds = work.new(tiles, 2, work.block_views)
    triton_mean.tile_bounds[(tiles,)](
        table, bounds, work.size, work.slots, grid.first, grid.rows, work.column_tiles,
        BLOCK_M=work.launch.block_rows, BLOCK_N=work.launch.block_columns, BLOCK_SLOTS=work.block_views,
    )  # fmt: skip
    return bounds


def _sweep(
    work: _Work, grid: _Grid, table: Tensor, statistics: bool, gradient: bool
) -> tuple[Tensor, Tensor]:
    """Sums [split, row tile, slot, row, (h, u)] and gradient parts [split, row, D], empty where not asked for."""
    hinge = work.settings.penalty == "hinge"
    bounds = _bounds(work, table, grid) if hinge else table
    sums = work.new(0)
    if statistics:
        sums = work.zeros(grid.splits, grid.row_tiles, work.slots, work.launch.block_rows, 2)
    parts = work.new(grid.splits, grid.rows, work.columns.shape[1]) if gradient else work.new(0)
    triton_mean.sweep[grid.programs](
        work.columns, table, bounds, sums, parts, work.size, work.slots, work.views, *grid.range, work.log2_rate,
        BLOCK_SLOTS=work.block_views, PENALTY=work.settings.penalty, STATISTICS=statistics, GRADIENT=gradient,
        **work.tile,
    )  # fmt: skip
    return sums, parts


def _mean(work: _Work, need_gradient: bool) -> tuple[Tensor, Tensor | None]:
    table, order = _thresholds(work)
    grid = _own(work, work.chunks if need_gradient else 1)
    sums, parts = _sweep(work, grid, table, True, need_gradient)
    losses = work.new(work.rows // work.views)
    gradient = work.new(work.rows, work.columns.shape[1]) if need_gradient else None
    slope_rate = 1 / work.settings.temperature if work.settings.penalty == "sigmoid" else 1.0
    triton_positives.finish_mean[(len(losses),)](
        work.columns, order, sums, parts, losses, parts if gradient is None else gradient, work.size, work.views,
        work.row_start, work.rows, grid.row_tiles, grid.splits, work.settings.margin, work.attention_log2_rate,
        work.attention_rate, slope_rate, work.weight_scale,
        BLOCK_M=work.launch.block_rows, ATTENTION=work.settings.attention, PENALTY=work.settings.penalty,
        GRADIENT=need_gradient, **work.source,
    )  # fmt: skip
    return losses.sum(), gradient


def _rank(work: _Work, need_gradient: bool) -> tuple[Tensor, Tensor | None]:
    table, order = _thresholds(work)
    grid = _everyone(work)
    sums, _ = _sweep(work, grid, table, True, False)
    losses = work.new(work.size // work.views)
    triton_rank.weigh_rank[(len(losses),)](
        work.columns, table, order, sums, losses, work.size, work.views, grid.row_tiles, grid.splits,
        work.log2_rate, work.weight_scale, BLOCK_M=work.launch.block_rows, BLOCK_N=work.launch.block_columns,
        **work.source,
    )  # fmt: skip
    first = work.row_start // work.views
    own_losses = losses[first : first + work.rows // work.views]
    if not need_gradient:
        return own_losses.sum(), None
    own = _own(work, work.chunks)
    _, parts = _sweep(work, own, table, False, True)
    gradient = work.new(work.rows, work.columns.shape[1])
    triton_rank.finish_rank[(len(own_losses),)](
        work.columns, order, sums, parts, gradient, work.size, work.views, work.row_start, work.rows,
        grid.row_tiles, grid.splits, own.splits, 1 / work.settings.temperature, work.log2_rate, work.weight_scale,
        BLOCK_M=work.launch.block_rows, **work.source,
    )  # fmt: skip
    return own_losses.sum(), gradient


def _logsumexp(work: _Work, need_gradient: bool) -> tuple[Tensor, Tensor | None]:
    settings = work.settings
    names = {"ATTENTION": settings.attention, "PENALTY": settings.penalty}
    grid = _everyone(work) if need_gradient else _own(work, 1)
    partial = work.new(grid.splits, 2, grid.rows)
    triton_logsumexp.soft_maximum[grid.programs](
        work.columns, partial, work.size, work.views, *grid.range, work.log2_rate, **work.tile
    )
    soft, weights = work.new(grid.rows), work.new(grid.rows)
    losses = work.new(grid.rows // work.views)
    triton_logsumexp.weigh_logsumexp[(len(losses),)](
        work.columns, partial, soft, weights, losses, work.size, work.views, grid.first, grid.rows, grid.splits,
        settings.margin, work.attention_log2_rate, work.log2_rate, work.weight_scale, **names, **work.source,
    )  # fmt: skip
    first = (work.row_start - grid.first) // work.views
    own_losses = losses[first : first + work.rows // work.views]
    if not need_gradient:
        return own_losses.sum(), None
    own = _own(work, work.chunks)
    parts = work.new(own.splits, work.rows, work.columns.shape[1])
    triton_logsumexp.pull_logsumexp[own.programs](
        work.columns, soft, weights, parts, work.size, work.views, *own.range, work.log2_rate, **work.tile
    )
    gradient = work.new(work.rows, work.columns.shape[1])
    triton_logsumexp.finish_logsumexp[(len(own_losses),)](
        work.columns, soft, parts, gradient, work.size, work.views, work.row_start, work.rows, own.splits,
        settings.margin, work.attention_log2_rate, work.attention_rate, work.log2_rate, work.weight_scale,
        **names, **work.source,
    )  # fmt: skip
    return own_losses.sum(), gradient
