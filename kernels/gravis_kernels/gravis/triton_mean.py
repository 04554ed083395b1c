# mypy: allow-untyped-defs, disable-error-code=annotation-unchecked
"""Negatives "mean": the sweep over all (anchor, positive, negative) triples, fused with its gradient.

With t_ij the thresholds s_ij - margin and w_ij the weights d(loss)/d(h_ij) up to a common factor, one pass over
tiles of similarities s_in accumulates, for the rows i of a program,

    h_ij = sum over n of phi(s_in - t_ij)      u_ij = sum over n of phi'(s_in - t_ij)
    G_in = sum over j of  w_ij phi'(s_in - t_ij) + w_nj phi'(s_in - t_nj)         dz_i = sum over n of G_in z_n

G includes both directions of a pair, so no other program adds to dz_i: no atomics, deterministic results.

Thresholds are stored in a table [tile of columns, threshold, (t, w), column], ascending for every anchor. For
the hinge, a threshold above every similarity of a tile contributes nothing, and one below all of them applies to
the whole tile: only those in between are compared one by one, and a tile without violations costs only its
similarities.
"""

import triton
import triton.language as tl

from gravis_kernels import tiles as tk


@triton.jit(do_not_specialize=["B", "slots", "row_start", "rows", "col_tiles"])
def tile_bounds(
    table_ptr, bounds_ptr, B, slots, row_start, rows, col_tiles,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_SLOTS: tl.constexpr,
):  # fmt: skip
    """bounds[tile, (smallest, largest), slot] of the thresholds, for each tile of columns, then of own rows."""
    i_tile = tl.program_id(0)
    first = i_tile * BLOCK_N
    end = tl.minimum(first + BLOCK_N, B)
    if i_tile >= col_tiles:
        first = row_start + (i_tile - col_tiles) * BLOCK_M
        end = tl.minimum(first + BLOCK_M, row_start + rows)
    row = first + tl.arange(0, BLOCK_M if BLOCK_M > BLOCK_N else BLOCK_N)[None, :]
    o_slot = tl.arange(0, BLOCK_SLOTS)
    inside = (o_slot < slots)[:, None] & (row < end)
    p_t = tk.threshold_pointers(table_ptr, row, slots, BLOCK_N) + o_slot[:, None] * (2 * BLOCK_N)
    t = tl.load(p_t, mask=inside, other=tk.FAR)
    out = bounds_ptr + tl.cast(i_tile, tl.int64) * (2 * BLOCK_SLOTS) + o_slot
    tl.store(out, tl.min(t, 1))
    tl.store(out + BLOCK_SLOTS, tl.where(o_slot < slots, tl.max(tl.where(inside, t, -tk.FAR), 1), tk.FAR))


@triton.jit
def open_slots(bounds_ptr, tile, slots, s_least, s_most, BLOCK_SLOTS: tl.constexpr):
    """first, last: slots below first are exceeded by the whole tile of similarities, those from last on by none.

    An infinite similarity also exceeds the bounds of slots that do not exist, which must not be visited.
    """
    p_least = bounds_ptr + tl.cast(tile, tl.int64) * (2 * BLOCK_SLOTS) + tl.arange(0, BLOCK_SLOTS)
    first = tl.sum((tl.load(p_least + BLOCK_SLOTS) < s_least).to(tl.int32))
    last = tl.sum((tl.load(p_least) < s_most).to(tl.int32))
    return tl.minimum(first, slots), tl.minimum(last, slots)


@triton.jit
def visit_rows(
    s, g, t_ptrs, sums_ptrs, keep, first, last, log2_rate, PENALTY: tl.constexpr, STATISTICS: tl.constexpr,
    GRADIENT: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """Add the contributions of row thresholds first .. last to g and to their sums [h, u]."""
    M: tl.constexpr = s[0].shape[0]
    N: tl.constexpr = s[0].shape[1]
    for k in range(first, last):
        t = tl.load(t_ptrs + k * (2 * TILE))[:, None]
        w = t
        if GRADIENT:
            w = tl.load(t_ptrs + (k * (2 * TILE) + TILE))[:, None]
        h = tl.zeros([M, N], tl.float32)
        u = tl.zeros([M, N], tl.float32)
        factors = tl.full([M, N], 1.0, tl.float32)
        new_g = g[:0]
        for q in tl.static_range(8):
            if STATISTICS:
                value, factor, d = tk.value_and_slope(s[q], t, log2_rate, PENALTY)
                h += value
                if PENALTY == "softplus":
                    factors *= factor
                u += d
            else:
                d = tk.slope(s[q], t, log2_rate, PENALTY)
            new_g += (g[q] + w * d if GRADIENT else g[q],)
        g = new_g
        if STATISTICS:
            if PENALTY == "softplus":
                h += tl.log2(factors) / log2_rate
            p_sums = sums_ptrs + k * (2 * M)
            tl.store(p_sums, tl.load(p_sums) + tl.join(tl.sum(h, 1), tl.sum(u, 1)), mask=keep)
    return g


@triton.jit
def visit_columns(s, g, table_ptr, first, last, log2_rate, PENALTY: tl.constexpr, TILE: tl.constexpr):
    """Add the contributions of column thresholds first .. last to g; another program computes their sums."""
    N: tl.constexpr = s[0].shape[1]
    o_col = tl.arange(0, N)
    for k in range(first, last):
        p_t = table_ptr + k * (2 * TILE) + o_col
        new_g = g[:0]
        for q in tl.static_range(8):
            t = tl.load(p_t + q * N)[None, :]
            w = tl.load(p_t + (q * N + TILE))[None, :]
            new_g += (g[q] + w * tk.slope(s[q], t, log2_rate, PENALTY),)
        g = new_g
    return g


@triton.jit
def weigh_violated_rows(s, t_ptrs, sums_ptrs, keep, last, STATISTICS: tl.constexpr, TILE: tl.constexpr):
    """Sum the weights of thresholds 0 .. last, which every similarity of the tile exceeds, and add to their sums."""
    M: tl.constexpr = s[0].shape[0]
    N: tl.constexpr = s[0].shape[1]
    total = tl.zeros([M], tl.float32)
    h = tl.zeros([M, N], tl.float32)
    if STATISTICS:
        for q in tl.static_range(8):
            h += s[q]
    both = tl.join(tl.sum(h, 1), tl.full([M], 8.0 * N, tl.float32))
    for k in range(last):
        total += tl.load(t_ptrs + (k * (2 * TILE) + TILE))
        if STATISTICS:
            p_sums = sums_ptrs + k * (2 * M)
            tl.store(p_sums, tl.load(p_sums) + both, mask=keep)
    return total[:, None]


@triton.jit
def weigh_violated_columns(g, table_ptr, last, TILE: tl.constexpr):
    N: tl.constexpr = g[0].shape[1]
    o_col = tl.arange(0, N)
    for k in range(last):
        p_w = table_ptr + (k * (2 * TILE) + TILE) + o_col
        new_g = g[:0]
        for q in tl.static_range(8):
            new_g += (g[q] + tl.load(p_w + q * N)[None, :],)
        g = new_g
    return g


@triton.jit(do_not_specialize=["B", "slots", "views", "row_start", "rows", "tiles_per_split"])
def sweep(
    z_ptr, table_ptr, bounds_ptr, sums_ptr, dz_ptr, B, slots, views, row_start, rows, tiles_per_split, log2_rate,
    D: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_INNER: tl.constexpr,
    BLOCK_SLOTS: tl.constexpr, PENALTY: tl.constexpr, STATISTICS: tl.constexpr, GRADIENT: tl.constexpr,
    PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """One program: a tile of rows against a run of column tiles, for one chunk of the gradient's dimensions.

    sums: [split, row tile, threshold, row, (h, u)], zero at the start; dz: [split, row, D].
    """
    i_tile = tl.program_id(0)
    i_split = tl.program_id(1)
    i_chunk = tl.program_id(2)
    row = row_start + i_tile * BLOCK_M
    row_end = row_start + rows
    o_row = row + tl.arange(0, BLOCK_M)
    z_row = tk.load_columns(z_ptr, row, row_end, 0, D, BLOCK_M, BLOCK_D)
    t_ptrs = tk.threshold_pointers(table_ptr, o_row, slots, BLOCK_N)
    sums_ptrs = sums_ptr + (i_split * tl.num_programs(0) + i_tile).to(tl.int64) * slots * (2 * BLOCK_M)
    sums_ptrs += tl.arange(0, BLOCK_M)[:, None] * 2 + tl.arange(0, 2)[None, :]
    keep = tl.full([1, 1], 0, tl.int32) == i_chunk  # every chunk computes the same sums
    dz = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)

    col_tiles = tl.cdiv(B, BLOCK_N)
    last_tile = tl.minimum((i_split + 1) * tiles_per_split, col_tiles)
    for j_tile in range(i_split * tiles_per_split, last_tile):
        col = j_tile * BLOCK_N
        z_col = tk.load_columns(z_ptr, col, B, 0, D, BLOCK_N, BLOCK_D)
        s = tk.similarities(
            z_ptr, z_ptr, z_row, z_col, row, row_end, col, B, views, D, BLOCK_INNER, PRECISION, UPCAST
        )  # fmt: skip
        row_first, row_last, col_first, col_last = 0, slots, 0, slots
        violated = True
        if PENALTY == "hinge":
            s_least = tl.min(s)
            s_most = tl.max(s)
            row_first, row_last = open_slots(bounds_ptr, col_tiles + i_tile, slots, s_least, s_most, BLOCK_SLOTS)
            col_first, col_last = open_slots(bounds_ptr, j_tile, slots, s_least, s_most, BLOCK_SLOTS)
            violated = row_last > 0
            if GRADIENT:
                violated = violated | (col_last > 0)
        if violated:
            p = tk.split8(s)
            g = tk.split8(tl.zeros([BLOCK_M, BLOCK_N], tl.float32))
            if PENALTY == "hinge":
                weight = weigh_violated_rows(p, t_ptrs, sums_ptrs, keep, row_first, STATISTICS, BLOCK_N)
                if GRADIENT:
                    g = tk.split8(tl.broadcast_to(weight, [BLOCK_M, BLOCK_N]))
            g = visit_rows(
                p, g, t_ptrs, sums_ptrs, keep, row_first, row_last, log2_rate, PENALTY, STATISTICS, GRADIENT, BLOCK_N
            )  # fmt: skip
            if GRADIENT:
                p_table = table_ptr + tl.cast(j_tile, tl.int64) * slots * (2 * BLOCK_N)
                if PENALTY == "hinge":
                    g = weigh_violated_columns(g, p_table, col_first, BLOCK_N)
                g = visit_columns(p, g, p_table, col_first, col_last, log2_rate, PENALTY, BLOCK_N)
                if D > BLOCK_INNER:
                    z_col = tk.load_columns(z_ptr, col, B, i_chunk, D, BLOCK_N, BLOCK_D)
                dz = tk.product(tk.concat8(g).to(z_col.dtype), z_col, dz, PRECISION, UPCAST)
    if GRADIENT:
        tk.store_part(dz_ptr, dz, i_split, i_chunk, i_tile * BLOCK_M, rows, D, BLOCK_M, BLOCK_D)
