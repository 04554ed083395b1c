# mypy: allow-untyped-defs, disable-error-code=annotation-unchecked
"""Negatives "logsumexp": two passes over tiles of similarities, with no loop over positives in either.

    v_i = t log(sum over n of exp(s_in / t))              the first pass
    w_i = sum over j of a_ij phi'(v_i - s_ij + margin)    among the views of a source
    G_in = w_i exp((s_in - v_i) / t) + w_n exp((s_in - v_n) / t)        dz_i = sum over n of G_in z_n / B

The second pass needs v and w of every column, so processes exchange them. PLAIN: similarities of normalized rows are
bounded, so exp(s / t) needs no running maximum, and with c_i = w_i exp(-v_i / t) one exponential serves both
directions, G_in = exp(s_in / t) (c_i + c_n).
"""

import triton
import triton.language as tl

from gravis_kernels import tiles as tk
from gravis_kernels.gravis.triton_positives import add_negatives_and_store, attention_weights, own_similarity


@triton.jit(do_not_specialize=["B", "views", "row_start", "rows", "row_group", "col_group"])
def sum_exp(
    z_ptr, tiles, sums_ptr, B, views, row_start, rows, row_group, col_group, log2_rate,
    D: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_INNER: tl.constexpr,
    PRECISION: tl.constexpr, UPCAST: tl.constexpr, TMA: tl.constexpr, SYMMETRIC: tl.constexpr,
):  # fmt: skip
    """sums[group of columns, row] = sum of exp(s_in / t) over the group. A program compares two groups.

    SYMMETRIC: the rows are all columns, in the same groups. Each unordered pair of groups is visited once and also
    gives the sums of its columns over its rows, to which no other program adds. TMA: `tiles` is a descriptor of the
    columns, else it is not used.
    """
    i_group = tl.program_id(0)
    j_group = tl.program_id(1)
    if SYMMETRIC:  # noqa: SIM102
        if i_group > j_group:
            return
    row_end = row_start + rows
    first_row = row_start + i_group * row_group
    first_col = j_group * col_group
    end_col = tl.minimum(first_col + col_group, B)
    for row in range(first_row, tl.minimum(first_row + row_group, row_end), BLOCK_M):
        z_row = tk.load_columns(z_ptr, row, row_end, 0, D, BLOCK_M, BLOCK_D)
        # rows run along the tile's second axis: the sums of its first axis wait in registers until the last tile,
        # those of its second are cheap
        totals = tl.zeros([BLOCK_N, BLOCK_M], tl.float32)
        for col in range(first_col, end_col, BLOCK_N):
            o_col = col + tl.arange(0, BLOCK_N)
            p_col = sums_ptr + tl.cast(i_group, tl.int64) * rows + o_col
            mutual = (o_col < B) & (i_group < j_group)
            earlier = tl.zeros([BLOCK_N], tl.float32)
            if SYMMETRIC:
                earlier = tl.load(p_col, mask=mutual & (row > first_row), other=0.0)
            z_col = tiles.load([col, 0]) if TMA else tk.load_columns(z_ptr, col, B, 0, D, BLOCK_N, BLOCK_D)
            s = tk.similarities(
                z_ptr, z_ptr, z_col, z_row, col, B, row, row_end, views, D, BLOCK_INNER, PRECISION, UPCAST
            )  # fmt: skip
            e = tl.exp2(s * log2_rate)
            totals += e
            if SYMMETRIC:
                tl.store(p_col, earlier + tl.sum(e, 1), mask=mutual)
        o_own = row - row_start + tl.arange(0, BLOCK_M)
        tl.store(sums_ptr + tl.cast(j_group, tl.int64) * rows + o_own, tl.sum(totals, 0), mask=o_own < rows)
        tl.debug_barrier()  # the next row adds to what other threads may have stored


@triton.jit(do_not_specialize=["B", "views", "row_start", "rows", "tiles_per_split"])
def sum_exp_shifted(
    x_ptr, y_ptr, sums_ptr, B, views, row_start, rows, tiles_per_split, log2_rate,
    D: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_INNER: tl.constexpr,
    PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """sums[(sum of exp((s_in - m) / t), maximum m), split, row] over a run of column tiles; s_in = <x_i, y_n>."""
    i_tile = tl.program_id(0)
    i_split = tl.program_id(1)
    row = row_start + i_tile * BLOCK_M
    row_end = row_start + rows
    x = tk.load_columns(x_ptr, row, row_end, 0, D, BLOCK_M, BLOCK_D)
    # A tile without negatives adds exp(0) at the maximum ABSENT; the first negative multiplies it by 0.
    m = tl.full([BLOCK_M], tk.ABSENT, tl.float32)
    total = tl.zeros([BLOCK_M], tl.float32)
    for j_tile in range(i_split * tiles_per_split, tl.minimum((i_split + 1) * tiles_per_split, tl.cdiv(B, BLOCK_N))):
        col = j_tile * BLOCK_N
        y = tk.load_columns(y_ptr, col, B, 0, D, BLOCK_N, BLOCK_D)
        s = tk.similarities(x_ptr, y_ptr, x, y, row, row_end, col, B, views, D, BLOCK_INNER, PRECISION, UPCAST)
        higher = tl.maximum(m, tl.max(s, 1))
        total = total * tl.exp2((m - higher) * log2_rate)
        total += tl.sum(tl.exp2((s - higher[:, None]) * log2_rate), 1)
        m = higher
    o_own = i_tile * BLOCK_M + tl.arange(0, BLOCK_M)
    p_sum = sums_ptr + tl.cast(i_split, tl.int64) * rows + o_own
    tl.store(p_sum, total, mask=o_own < rows)
    tl.store(p_sum + tl.num_programs(1).to(tl.int64) * rows, m, mask=o_own < rows)


@triton.jit
def terms(
    s, lse, o_k, views, margin, attention_log2_rate, log2_rate, ATTENTION: tl.constexpr, PENALTY: tl.constexpr,
):  # fmt: skip
    """a_ij, h_ij and phi' among the views of a source, zero where j is not a positive."""
    others = (o_k[None, :] < views) & (o_k[:, None] != o_k[None, :])
    a = attention_weights(s, others, views, attention_log2_rate, ATTENTION)
    t = s - margin
    h, slope = tk.exact_value_and_slope(lse[:, None], t, log2_rate, PENALTY)
    positive = others & (o_k[:, None] < views)
    return tl.where(positive, a, 0.0), tl.where(positive, h, 0.0), tl.where(positive, slope, 0.0)


@triton.jit(do_not_specialize=["B", "views", "row_start", "rows", "splits"])
def weigh_logsumexp(
    z_ptr, sums_ptr, lse_ptr, weight_ptr, loss_ptr, B, views, row_start, rows, splits, margin,
    attention_log2_rate, log2_rate, weight_scale,
    D: tl.constexpr, BLOCK_K: tl.constexpr, ATTENTION: tl.constexpr, PENALTY: tl.constexpr,
    PRECISION: tl.constexpr, UPCAST: tl.constexpr, PLAIN: tl.constexpr,
):  # fmt: skip
    """v_i and w_i (c_i if PLAIN; times weight_scale) of a source's anchors, and loss[source] = sum of l_i / B."""
    s = own_similarity(z_ptr, row_start // views + tl.program_id(0), views, D, BLOCK_K, PRECISION, UPCAST)
    o_k = tl.arange(0, BLOCK_K)
    o_own = tl.program_id(0) * views + o_k
    inside = o_k < views
    m = tl.full([BLOCK_K], 0.0 if PLAIN else tk.ABSENT, tl.float32)
    total = tl.where(inside, 0.0, 1.0)
    for split in range(0, splits, 16):
        o_split = split + tl.arange(0, 16)[:, None]
        p_sum = sums_ptr + o_split.to(tl.int64) * rows + o_own[None, :]
        exists = (o_split < splits) & inside[None, :]
        sums = tl.load(p_sum, mask=exists, other=0.0)
        if not PLAIN:
            maxima = tl.load(p_sum + splits.to(tl.int64) * rows, mask=exists, other=tk.ABSENT)
            higher = tl.maximum(m, tl.max(maxima, 0))
            total *= tl.exp2((m - higher) * log2_rate)
            sums *= tl.exp2((maxima - higher[None, :]) * log2_rate)
            m = higher
        total += tl.sum(sums, 0)
    lse = m + tl.log2(total) / log2_rate
    a, h, slope = terms(s, lse, o_k, views, margin, attention_log2_rate, log2_rate, ATTENTION, PENALTY)
    tl.store(lse_ptr + o_own, lse, mask=inside)
    weight = tl.sum(a * slope, 1) * weight_scale
    if PLAIN:
        weight = weight / total
    tl.store(weight_ptr + o_own, weight, mask=inside)
    tl.store(loss_ptr + tl.program_id(0), tl.sum(a * h) / B.to(tl.float32))


@triton.jit
def softmax_term(s, lse, log2_rate):
    """exp((s - v) / t), clamped to 1, as v is rounded and s may be huge."""
    return tl.exp2(tl.minimum((s - lse) * log2_rate, 0.0))


@triton.jit
def tile_grad(s, lse_ptr, lse_row, weight_row, weight_col, o_col, B, log2_rate, PLAIN: tl.constexpr):
    """G_in of a tile."""
    if PLAIN:
        g = tl.exp2(s * log2_rate) * (weight_row + weight_col)
    else:
        lse_col = tl.load(lse_ptr + o_col, mask=o_col < B, other=0.0)[None, :]
        g = weight_row * softmax_term(s, lse_row, log2_rate)
        g += weight_col * softmax_term(s, lse_col, log2_rate)
    return g


@triton.jit(do_not_specialize=["B", "views", "row_start", "rows", "tiles_per_split"])
def grad_logsumexp(
    z_ptr, lse_ptr, weight_ptr, dz_ptr, B, views, row_start, rows, tiles_per_split, log2_rate,
    D: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_INNER: tl.constexpr,
    PENALTY: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr, PLAIN: tl.constexpr,
):  # fmt: skip
    """dz[split, row, D] = sum of G_in z_n over a run of column tiles; the hinge skips tiles without weights."""
    i_tile = tl.program_id(0)
    i_split = tl.program_id(1)
    i_chunk = tl.program_id(2)
    row = row_start + i_tile * BLOCK_M
    row_end = row_start + rows
    o_row = row + tl.arange(0, BLOCK_M)
    z_row = tk.load_columns(z_ptr, row, row_end, 0, D, BLOCK_M, BLOCK_D)
    lse_row = tl.load(lse_ptr + o_row, mask=o_row < row_end, other=0.0)[:, None]
    weight_row = tl.load(weight_ptr + o_row, mask=o_row < row_end, other=0.0)[:, None]
    most = tl.max(weight_row)
    dz = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    for j_tile in range(i_split * tiles_per_split, tl.minimum((i_split + 1) * tiles_per_split, tl.cdiv(B, BLOCK_N))):
        col = j_tile * BLOCK_N
        o_col = col + tl.arange(0, BLOCK_N)
        weight_col = tl.load(weight_ptr + o_col, mask=o_col < B, other=0.0)[None, :]
        needed = True
        if PENALTY == "hinge":
            # smooth penalties have weights everywhere, and their loads are pipelined only without a branch
            needed = most + tl.max(weight_col) > 0
        if needed:
            z_col = tk.load_columns(z_ptr, col, B, 0, D, BLOCK_N, BLOCK_D)
            s = tk.similarities(
                z_ptr, z_ptr, z_row, z_col, row, row_end, col, B, views, D, BLOCK_INNER, PRECISION, UPCAST
            )  # fmt: skip
            g = tile_grad(s, lse_ptr, lse_row, weight_row, weight_col, o_col, B, log2_rate, PLAIN)
            if D > BLOCK_INNER:
                z_col = tk.load_columns(z_ptr, col, B, i_chunk, D, BLOCK_N, BLOCK_D)
            dz = tk.product(g.to(z_col.dtype), z_col, dz, PRECISION, UPCAST)
    tk.store_part(dz_ptr, dz, i_split, i_chunk, i_tile * BLOCK_M, rows, D, BLOCK_M, BLOCK_D)


@triton.jit(do_not_specialize=["B", "views", "row_start", "rows", "splits"])
def finish_logsumexp(
    z_ptr, lse_ptr, parts_ptr, gradient_ptr, B, views, row_start, rows, splits, margin, attention_log2_rate,
    attention_rate, log2_rate, weight_scale,
    D: tl.constexpr, BLOCK_K: tl.constexpr, ATTENTION: tl.constexpr, PENALTY: tl.constexpr,
    PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """The gradient of a source's views; attention_rate is 0 if attention is constant."""
    own_row = tl.program_id(0) * views
    o_k = tl.arange(0, BLOCK_K)
    lse = tl.load(lse_ptr + row_start + own_row + o_k, mask=o_k < views, other=0.0)
    s = own_similarity(z_ptr, row_start // views + tl.program_id(0), views, D, BLOCK_K, PRECISION, UPCAST)
    a, h, slope = terms(s, lse, o_k, views, margin, attention_log2_rate, log2_rate, ATTENTION, PENALTY)
    losses = tl.sum(a * h, 1)
    dsp = a * ((h - losses[:, None]) * attention_rate - slope) / B.to(tl.float32)
    add_negatives_and_store(
        dsp, z_ptr, parts_ptr, gradient_ptr, row_start + own_row, own_row, rows, views, splits,
        1.0 / (B.to(tl.float32) * weight_scale), D, BLOCK_K, PRECISION, UPCAST,
    )  # fmt: skip
