# mypy: allow-untyped-defs, disable-error-code=annotation-unchecked
"""SigLIP in Triton: one pass over tiles of logits per tower gives its gradient; the image pass also gives the loss.

The passes exclude the matches, which PyTorch adds: there is only one per pair.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn.functional import logsigmoid

from gravis_kernels import tiles as tk
from gravis_kernels.gravis.triton_work import Work, own_rows
from gravis_kernels.towers.triton import plan_tower

LOG2_E = tl.constexpr(1.4426950408889634)


@triton.jit
def softplus_and_sigmoid(x):
    """log(1 + exp(x)), accurate for small values, and its slope."""
    e = tl.exp2(-tl.abs(x) * LOG2_E)
    r = 1.0 / (1.0 + e)
    log = tl.where(e < 0.0078125, e * (1.0 - e * (0.5 - e * 0.33333333)), tl.log2(1.0 + e) / LOG2_E)
    return tl.maximum(x, 0.0) + log, tl.where(x > 0, r, e * r)


@triton.jit(do_not_specialize=["B", "row_start", "rows", "tiles_per_split"])
def grad_siglip(
    x_ptr, y_ptr, bias_ptr, sums_ptr, dx_ptr, B, row_start, rows, tiles_per_split, weight_scale,
    D: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_INNER: tl.constexpr,
    PRECISION: tl.constexpr, UPCAST: tl.constexpr, STATISTICS: tl.constexpr, GRADIENT: tl.constexpr,
):  # fmt: skip
    """sums[split, (loss, d(loss)/d(bias)), row] and dx[split, row, D] over a run of column tiles, if requested."""
    i_tile = tl.program_id(0)
    i_split = tl.program_id(1)
    i_chunk = tl.program_id(2)
    row = row_start + i_tile * BLOCK_M
    row_end = row_start + rows
    x = tk.load_columns(x_ptr, row, row_end, 0, D, BLOCK_M, BLOCK_D)
    bias = tl.load(bias_ptr)
    losses = tl.zeros([BLOCK_M], tl.float32)
    slopes = tl.zeros([BLOCK_M], tl.float32)
    dx = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    for j_tile in range(i_split * tiles_per_split, tl.minimum((i_split + 1) * tiles_per_split, tl.cdiv(B, BLOCK_N))):
        col = j_tile * BLOCK_N
        y = tk.load_columns(y_ptr, col, B, 0, D, BLOCK_N, BLOCK_D)
        s = tk.similarities(x_ptr, y_ptr, x, y, row, row_end, col, B, 1, D, BLOCK_INNER, PRECISION, UPCAST)
        value, slope = softplus_and_sigmoid(s + bias)
        if STATISTICS:
            losses += tl.sum(value, 1)
            slopes += tl.sum(slope, 1)
        if GRADIENT:
            if D > BLOCK_INNER:
                y = tk.load_columns(y_ptr, col, B, i_chunk, D, BLOCK_N, BLOCK_D)
            dx = tk.product((slope * weight_scale).to(y.dtype), y, dx, PRECISION, UPCAST)
    if STATISTICS:
        # every chunk of dimensions computes the same sums
        o_own = i_tile * BLOCK_M + tl.arange(0, BLOCK_M)
        p_sums = sums_ptr + tl.cast(i_split, tl.int64) * 2 * rows + o_own
        tl.store(p_sums, losses, mask=o_own < rows)
        tl.store(p_sums + rows, slopes, mask=o_own < rows)
    if GRADIENT:
        tk.store_part(dx_ptr, dx, i_split, i_chunk, i_tile * BLOCK_M, rows, D, BLOCK_M, BLOCK_D)


def loss_and_gradient(
    columns: Tensor, bias: Tensor, row_start: int, rows: int, need_gradient: bool, **_: Any
) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
    """Same contract as `gravis_kernels.siglip.reference.loss_and_gradient`; columns float32, bfloat16 or float16.

    ValueError: more than 1024 dimensions, or float64.
    """
    own, batch = slice(row_start, row_start + rows), len(columns)
    image, text = (tower.contiguous() for tower in columns.unbind(1))
    with torch.cuda.device_of(columns):
        matched = columns[own].to(bias.dtype)
        match = matched.prod(1).sum(1) + bias
        sums, of_images = _sweep(plan_tower(image, own), text, bias, True, need_gradient)
        loss, slope = sums.sum((0, 2)).unbind()
        loss = (loss - logsigmoid(match).sum()) / batch
        if not need_gradient:
            return loss, None
        of_texts = _sweep(plan_tower(text, own), image, bias, False, True)[1]
        missing = torch.sigmoid(-match)
        grads = torch.stack([of_images, of_texts], 1) - missing[:, None, None] * matched.flip(1)
    return loss, (grads / batch, (slope - missing.sum()) / batch)


def _sweep(work: Work, other: Tensor, bias: Tensor, statistics: bool, gradient: bool) -> tuple[Tensor, Tensor]:
    """Sums [split, (loss, slope), own row] and the gradient [own row, D] of a tower, empty if not requested."""
    grid = own_rows(work, "gradient", gradient)
    sums = work.new(grid.splits, 2, grid.rows) if statistics else work.new(0)
    parts = work.new(grid.splits, grid.rows, other.shape[1]) if gradient else work.new(0, grid.rows, 0)
    # loss and slope of a whole tile are live at once: too much for the registers of four warps
    tile = grid.tile | grid.roomy | ({"num_warps": 8} if statistics else {})
    grad_siglip[grid.programs](
        work.columns, other, bias, sums, parts, work.size, *grid.range, work.weight_scale,
        STATISTICS=statistics, GRADIENT=gradient, **tile,
    )  # fmt: skip
    return sums, parts.sum(0) / work.weight_scale
