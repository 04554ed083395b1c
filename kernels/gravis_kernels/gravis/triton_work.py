"""One call of the Triton backend: its tensors, numbers and constants, and the grids of its kernels."""

from dataclasses import dataclass
from typing import Any

import torch
import triton
from torch import Tensor
from torch.nn.functional import pad

from gravis_kernels import configs
from gravis_kernels.settings import GravisSettings

LOG2_E = 1.4426950408889634
# float16 underflows below 6e-8; entries of a weighted tile are at most 2, so this keeps them under 65504
FLOAT16_SCALE = 2.0**14


def blocks(count: int, size: int) -> int:
    """Number of blocks of `size` that cover `count`; triton.cdiv takes 4 us on the host, 7 times per call."""
    return -(-count // size)


@dataclass(frozen=True, slots=True)
class Work:
    """One call: its tensors and numbers, and the constants that all its kernels are compiled with."""

    columns: Tensor
    row_start: int
    rows: int
    views: int
    settings: GravisSettings
    machine: configs.Machine
    constants: dict[str, Any]
    extra: int = 0

    @property
    def size(self) -> int:
        return self.columns.shape[0]

    @property
    def batch(self) -> int:
        """Number of columns that are anchors; the others are extra negatives."""
        return self.size - self.extra

    @property
    def slots(self) -> int:
        """Number of thresholds per anchor."""
        return self.views if self.settings.attention == "rank" else self.views - 1

    @property
    def block_views(self) -> int:
        return max(16, triton.next_power_of_2(self.views))

    @property
    def source(self) -> dict[str, Any]:
        """Constants of the kernels with one program per source."""
        warps = max(4, self.block_views // 8)  # with four, K x K matrices of 64 views spill
        return self.constants | {"BLOCK_K": self.block_views, "num_warps": warps, "num_stages": 2}

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

    def launch(self, kernel: configs.Kernel) -> configs.LaunchConfig:
        return configs.launch_config(
            kernel, self.machine.architecture, self.columns.shape[1], self.columns.element_size()
        )

    def new(self, *shape: int) -> Tensor:
        return self.columns.new_empty(shape, dtype=torch.float32)

    def zeros(self, *shape: int) -> Tensor:
        return self.columns.new_zeros(shape, dtype=torch.float32)

    def of_all_columns(self, values: Tensor) -> Tensor:
        """Values of the anchors, (batch,), padded with 0 for the extra negatives, which have no weight."""
        return pad(values, (0, self.extra)) if self.extra else values


@dataclass(frozen=True, slots=True)
class Grid:
    """Rows first .. first + rows, in tiles, against all columns, in `splits` runs of tiles; constants: of `Work`."""

    launch: configs.LaunchConfig
    constants: dict[str, Any]
    first: int
    rows: int
    row_tiles: int
    column_tiles: int
    splits: int
    chunks: int

    @property
    def tiles_per_split(self) -> int:
        return blocks(self.column_tiles, self.splits)

    @property
    def programs(self) -> tuple[int, int, int]:
        return self.row_tiles, self.splits, self.chunks

    @property
    def range(self) -> tuple[int, int, int]:
        return self.first, self.rows, self.tiles_per_split

    @property
    def roomy(self) -> dict[str, int]:
        """For kernels that hold more than z and a weight per column: a third stage leaves room for one program per
        multiprocessor, and four warps spill in tiles of 128 rows."""
        return {
            "num_stages": min(2, self.launch.num_stages),
            "num_warps": max(self.launch.num_warps, self.launch.block_rows // 16),
        }

    @property
    def tile(self) -> dict[str, Any]:
        """Constants of the kernels that iterate over tiles."""
        sizes = self.launch
        return self.constants | {
            "BLOCK_M": sizes.block_rows, "BLOCK_N": sizes.block_columns, "BLOCK_D": sizes.block_dim,
            "BLOCK_INNER": sizes.block_inner, "num_warps": sizes.num_warps, "num_stages": sizes.num_stages,
        }  # fmt: skip


def plan(columns: Tensor, row_start: int, rows: int, views: int, settings: GravisSettings, extra: int = 0) -> Work:
    machine = configs.machine(columns.device)
    constants = {"D": columns.shape[1], "PRECISION": machine.precision, "UPCAST": machine.upcast}
    return Work(columns, row_start, rows, views, settings, machine, constants, extra)


def rows_by_columns(work: Work, kernel: configs.Kernel, first: int, rows: int, gradient: bool) -> Grid:
    """Split columns only if the rows alone leave processors idle."""
    launch = work.launch(kernel)
    row_tiles, column_tiles = blocks(rows, launch.block_rows), blocks(work.size, launch.block_columns)
    chunks = blocks(work.columns.shape[1], launch.block_dim) if gradient else 1
    needed = max(1, 2 * work.machine.processors // (row_tiles * chunks))
    # no split without tiles
    splits = blocks(column_tiles, blocks(column_tiles, min(needed, column_tiles)))
    return Grid(launch, work.constants, first, rows, row_tiles, column_tiles, splits, chunks)


def own_rows(work: Work, kernel: configs.Kernel, gradient: bool) -> Grid:
    return rows_by_columns(work, kernel, work.row_start, work.rows, gradient)


def all_rows(work: Work, kernel: configs.Kernel) -> Grid:
    return rows_by_columns(work, kernel, 0, work.batch, False)
