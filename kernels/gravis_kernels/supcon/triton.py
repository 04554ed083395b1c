# mypy: allow-untyped-defs, disable-error-code=annotation-unchecked
"""SupCon in Triton: the log-sum-exp by the kernel of negatives "logsumexp", every row as its own source, then

    G_in = w_i exp((s_in - v_i) / t) + w_n exp((s_in - v_n) / t) - [n in P(i)] 2 w_i / |P(i)|     dz_i = sum of G_in z_n

in one kernel. The terms of well-matched positives cancel in G; rounded separately to half precision, they would
leave noise.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn.functional import pad

from gravis_kernels import tiles as tk
from gravis_kernels.distributed import Gather
from gravis_kernels.gravis import triton_logsumexp
from gravis_kernels.gravis.triton import check, log_sum_exp, sum_exponentials
from gravis_kernels.gravis.triton_work import own_rows, plan
from gravis_kernels.settings import SMALLEST_PLAIN_TEMPERATURE, GravisSettings
from gravis_kernels.supcon.positives import find_positives


@triton.jit(do_not_specialize=["B", "row_start", "rows", "tiles_per_split"])
def grad_supcon(
    z_ptr, lse_ptr, weight_ptr, label_ptr, target_ptr, dz_ptr, B, row_start, rows, tiles_per_split, log2_rate,
    D: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_INNER: tl.constexpr,
    PRECISION: tl.constexpr, UPCAST: tl.constexpr, PLAIN: tl.constexpr,
):  # fmt: skip
    """dz[split, row, D] = sum of G_in z_n over a run of column tiles; target: 2 w_i / |P(i)| of each row."""
    i_tile = tl.program_id(0)
    i_split = tl.program_id(1)
    i_chunk = tl.program_id(2)
    row = row_start + i_tile * BLOCK_M
    row_end = row_start + rows
    o_row = row + tl.arange(0, BLOCK_M)
    own = o_row < row_end
    z_row = tk.load_columns(z_ptr, row, row_end, 0, D, BLOCK_M, BLOCK_D)
    lse_row = tl.load(lse_ptr + o_row, mask=own, other=0.0)[:, None]
    weight_row = tl.load(weight_ptr + o_row, mask=own, other=0.0)[:, None]
    label_row = tl.load(label_ptr + o_row, mask=own, other=0)[:, None]
    target_row = tl.load(target_ptr + o_row, mask=own, other=0.0)[:, None]
    dz = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    for j_tile in range(i_split * tiles_per_split, tl.minimum((i_split + 1) * tiles_per_split, tl.cdiv(B, BLOCK_N))):
        col = j_tile * BLOCK_N
        o_col = col + tl.arange(0, BLOCK_N)
        weight_col = tl.load(weight_ptr + o_col, mask=o_col < B, other=0.0)[None, :]
        label_col = tl.load(label_ptr + o_col, mask=o_col < B, other=-1)[None, :]
        z_col = tk.load_columns(z_ptr, col, B, 0, D, BLOCK_N, BLOCK_D)
        s = tk.similarities(
            z_ptr, z_ptr, z_row, z_col, row, row_end, col, B, 1, D, BLOCK_INNER, PRECISION, UPCAST
        )  # fmt: skip
        g = triton_logsumexp.tile_grad(s, lse_ptr, lse_row, weight_row, weight_col, o_col, B, log2_rate, PLAIN)
        positive = (label_row == label_col) & (o_row[:, None] != o_col[None, :])
        g = tl.where(positive, g - target_row, g)
        if D > BLOCK_INNER:
            z_col = tk.load_columns(z_ptr, col, B, i_chunk, D, BLOCK_N, BLOCK_D)
        dz = tk.product(g.to(z_col.dtype), z_col, dz, PRECISION, UPCAST)
    tk.store_part(dz_ptr, dz, i_split, i_chunk, i_tile * BLOCK_M, rows, D, BLOCK_M, BLOCK_D)


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
    """Same contract as `gravis_kernels.supcon.streaming.loss_and_gradient`; columns float32, bfloat16 or float16.

    ValueError: more than 1024 dimensions, or an unsupported dtype.
    """
    check(columns, 1)
    own, batch = slice(row_start, row_start + rows), len(labels)
    positives = find_positives(columns[:batch], labels, temperature)
    plain = unit_rows and temperature >= SMALLEST_PLAIN_TEMPERATURE
    with torch.cuda.device_of(columns):
        settings = GravisSettings(temperature=temperature)
        work = plan(columns, row_start, rows, 1, settings, extra=len(columns) - batch)
        lse = log_sum_exp(sum_exponentials(work, row_start, rows, plain), temperature)
        loss = positives.loss(own, columns, lse)
        if not need_gradient:
            return loss, None
        if gather is not None:
            lse = gather(lse[:, None])[:, 0]
        # weight 1 per anchor: the magnitude that the float16 scale is meant for
        weights = (positives.weights > 0) * work.weight_scale
        if plain:
            weights = weights * torch.exp(lse / -temperature)
        lse, weights = work.of_all_columns(lse), work.of_all_columns(weights)
        found = pad(positives.group, (0, work.extra), value=-1)
        grid = own_rows(work, "gradient", True)
        parts = work.new(grid.splits, rows, columns.shape[1])
        grad_supcon[grid.programs](
            columns, lse, weights, found, positives.inverse_counts * (2 * work.weight_scale), parts, work.size,
            *grid.range, work.log2_rate, PLAIN=plain, **grid.tile | grid.roomy,
        )  # fmt: skip
        return loss, parts.sum(0) * (positives.weights.amax() / work.weight_scale)
