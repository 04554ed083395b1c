# mypy: allow-untyped-defs, disable-error-code=annotation-unchecked
"""CLIP in Triton: two passes over tiles of logits for each tower, excluding the matches.

v_i = log(sum over n != i of exp(z_in))                                  first pass, for images and for texts
dx_i = sum over n != i of (exp(z_in - r_i) + exp(z_in - c_n)) y_n        second pass; r, c: log-sum-exp of all logits
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from gravis_kernels import tiles as tk
from gravis_kernels.clip.matches import add_matches
from gravis_kernels.distributed import Gather
from gravis_kernels.gravis.triton import log_sum_exp, sum_exponentials
from gravis_kernels.gravis.triton_logsumexp import softmax_term
from gravis_kernels.gravis.triton_work import Work, own_rows
from gravis_kernels.towers.triton import plan_tower


@triton.jit(do_not_specialize=["B", "row_start", "rows", "tiles_per_split"])
def grad_clip(
    x_ptr, y_ptr, log_x_ptr, log_y_ptr, dx_ptr, B, row_start, rows, tiles_per_split, log2_rate, weight_scale,
    D: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_INNER: tl.constexpr,
    PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """dx[split, row, D] (times weight_scale) over a run of column tiles."""
    i_tile = tl.program_id(0)
    i_split = tl.program_id(1)
    i_chunk = tl.program_id(2)
    row = row_start + i_tile * BLOCK_M
    row_end = row_start + rows
    o_row = row + tl.arange(0, BLOCK_M)
    x = tk.load_columns(x_ptr, row, row_end, 0, D, BLOCK_M, BLOCK_D)
    log_x = tl.load(log_x_ptr + o_row, mask=o_row < row_end, other=0.0)[:, None]
    dx = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    for j_tile in range(i_split * tiles_per_split, tl.minimum((i_split + 1) * tiles_per_split, tl.cdiv(B, BLOCK_N))):
        col = j_tile * BLOCK_N
        o_col = col + tl.arange(0, BLOCK_N)
        log_y = tl.load(log_y_ptr + o_col, mask=o_col < B, other=0.0)[None, :]
        y = tk.load_columns(y_ptr, col, B, 0, D, BLOCK_N, BLOCK_D)
        s = tk.similarities(x_ptr, y_ptr, x, y, row, row_end, col, B, 1, D, BLOCK_INNER, PRECISION, UPCAST)
        g = (softmax_term(s, log_x, log2_rate) + softmax_term(s, log_y, log2_rate)) * weight_scale
        if D > BLOCK_INNER:
            y = tk.load_columns(y_ptr, col, B, i_chunk, D, BLOCK_N, BLOCK_D)
        dx = tk.product(g.to(y.dtype), y, dx, PRECISION, UPCAST)
    tk.store_part(dx_ptr, dx, i_split, i_chunk, i_tile * BLOCK_M, rows, D, BLOCK_M, BLOCK_D)


def loss_and_gradient(
    columns: Tensor,
    bias: Tensor,
    row_start: int,
    rows: int,
    need_gradient: bool,
    *,
    gather: Gather | None = None,
) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
    """Same contract as `gravis_kernels.clip.streaming.loss_and_gradient`; columns float32, bfloat16 or float16.

    ValueError: more than 1024 dimensions, or float64.
    """
    own = slice(row_start, row_start + rows)
    image, text = (tower.contiguous() for tower in columns.unbind(1))
    towers = (plan_tower(image, own), text), (plan_tower(text, own), image)
    with torch.cuda.device_of(columns):
        sums = [sum_exponentials(work, row_start, rows, False, other) for work, other in towers]
        others = torch.stack([log_sum_exp(x, 1.0) for x in sums], 1)
        matches = add_matches(columns[own], others)
        loss = matches.loss / len(columns)
        if not need_gradient:
            return loss, None
        logs = matches.logs if gather is None else gather(matches.logs)
        by_image, by_text = (log.contiguous() for log in logs.unbind(1))
        grads = [_grad(*towers[0], by_image, by_text), _grad(*towers[1], by_text, by_image)]
        gradient = torch.stack(grads, 1) / 2 + matches.slopes[:, None, None] * columns[own].flip(1)
    return loss, (gradient / len(columns), torch.zeros_like(bias))


def _grad(work: Work, other: Tensor, logs: Tensor, other_logs: Tensor) -> Tensor:
    """Sum of (softmax of the row + softmax of the column) times the column, (own rows, dim)."""
    grid = own_rows(work, "gradient", True)
    parts = work.new(grid.splits, grid.rows, other.shape[1])
    grad_clip[grid.programs](
        work.columns, other, logs, other_logs, parts, work.size, *grid.range, work.log2_rate, work.weight_scale,
        **grid.tile | grid.roomy,
    )  # fmt: skip
    return parts.sum(0) / work.weight_scale
