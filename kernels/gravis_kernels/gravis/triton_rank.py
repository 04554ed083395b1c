# mypy: allow-untyped-defs, disable-error-code=annotation-unchecked
"""Attention "rank": the work between and after the two sweeps over negatives, one program per source.

    H_ij = sum over n of sigma(s_in - s_ij)     R_ij = 1 + sum over k != j of sigma(s_ik - s_ij)
    l_i = mean over j of H_ij / (R_ij + H_ij)   dl_i / dH_ij = R_ij / (K (R_ij + H_ij)^2)

The first sweep gives H and the sums of its slopes for the anchors of all processes, as the second needs dl/dH of
both rows and columns as weights.
"""

import triton
import triton.language as tl

from gravis_kernels import tiles as tk
from gravis_kernels.gravis.triton_positives import (
    add_negatives_and_store,
    load_order,
    own_similarity,
    sums_over_negatives,
)


@triton.jit
def rank_among_positives(s, o_k, views, log2_rate):
    """R_ij, [BLOCK_K, BLOCK_K]."""
    rank = tl.full(s.shape, 0.5, tl.float32)  # 1 minus the sigmoid(0) of k = j
    for k in range(views):
        value, _, _ = tk.value_and_slope(tk.column(s, k, o_k)[:, None], s, log2_rate, "sigmoid")
        rank += value
    return rank


@triton.jit(do_not_specialize=["B", "views", "row_tiles", "splits"])
def weigh_rank(
    z_ptr, table_ptr, order_ptr, sums_ptr, loss_ptr, B, views, row_tiles, splits, log2_rate, weight_scale,
    D: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
    PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """Store dl_i/dH_ij (times weight_scale) in the table, and sum of l_i / B in loss[source]."""
    row = tl.program_id(0) * views
    o_k = tl.arange(0, BLOCK_K)
    inside = (o_k[:, None] < views) & (o_k[None, :] < views)
    order = load_order(order_ptr, row, views, o_k, inside)
    s = own_similarity(z_ptr, tl.program_id(0), views, D, BLOCK_K, PRECISION, UPCAST)
    above, _ = sums_over_negatives(sums_ptr, order, row, row_tiles, splits, views, inside, BLOCK_K, BLOCK_M)
    rank = rank_among_positives(s, o_k, views, log2_rate)
    all_rank = rank + above
    p_w = tk.threshold_pointers(table_ptr, row + o_k, views, BLOCK_N)[:, None] + (order * 2 + 1) * BLOCK_N
    tl.store(p_w, rank / (all_rank * all_rank) * (weight_scale / views.to(tl.float32)), mask=inside)
    losses = tl.where(inside, above / all_rank, 0.0)
    tl.store(loss_ptr + tl.program_id(0), tl.sum(losses) / (views.to(tl.float32) * B.to(tl.float32)))


@triton.jit(do_not_specialize=["B", "views", "row_start", "rows", "row_tiles", "splits", "part_splits"])
def finish_rank(
    z_ptr, order_ptr, sums_ptr, parts_ptr, gradient_ptr, B, views, row_start, rows, row_tiles, splits, part_splits,
    rate, log2_rate, weight_scale,
    D: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_M: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """The gradient of a source's views; rate = 1 / temperature."""
    own_row = tl.program_id(0) * views
    row = row_start + own_row
    o_k = tl.arange(0, BLOCK_K)
    inside = (o_k[:, None] < views) & (o_k[None, :] < views)
    order = load_order(order_ptr, row, views, o_k, inside)
    s = own_similarity(z_ptr, row // views, views, D, BLOCK_K, PRECISION, UPCAST)
    above, slopes = sums_over_negatives(sums_ptr, order, row, row_tiles, splits, views, inside, BLOCK_K, BLOCK_M)
    rank = rank_among_positives(s, o_k, views, log2_rate)
    all_rank = rank + above
    d_rank = tl.where(inside, -above / (all_rank * all_rank), 0.0)
    dsp = tl.where(inside, -rank / (all_rank * all_rank) * slopes, 0.0)
    for k in range(views):
        # effect of s_ik on the ranks of all j
        _, _, slope = tk.value_and_slope(tk.column(s, k, o_k)[:, None], s, log2_rate, "sigmoid")
        change = tl.where(o_k[None, :] == k, 0.0, d_rank * slope)
        dsp += tl.where(o_k[None, :] == k, tl.sum(change, 1)[:, None], -change)
    dsp = tl.where(inside, dsp, 0.0) * (rate / (views.to(tl.float32) * B.to(tl.float32)))
    add_negatives_and_store(
        dsp, z_ptr, parts_ptr, gradient_ptr, row, own_row, rows, views, part_splits,
        rate / (B.to(tl.float32) * weight_scale), D, BLOCK_K, PRECISION, UPCAST,
    )  # fmt: skip
