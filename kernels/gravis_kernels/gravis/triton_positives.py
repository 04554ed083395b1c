# mypy: allow-untyped-defs, disable-error-code=annotation-unchecked
"""The K x K part of the losses, one program per source: the work before and after a sweep over negatives.

Similarities of a source's own views give thresholds and weights before the sweep. After it, sums over negatives
give l_i, d(loss)/d(s_ij) and the positives' part of the gradient.
"""

import triton
import triton.language as tl

from gravis_kernels import tiles as tk


@triton.jit
def own_similarity(
    z_ptr, source, views, D: tl.constexpr, BLOCK_K: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """s_ij among the views of a source, [BLOCK_K, BLOCK_K], zero beyond its views."""
    s = tl.zeros([BLOCK_K, BLOCK_K], tl.float32)
    for c in range((D + 31) // 32):
        z = tk.load_embeddings(z_ptr, source * views, views, c, D, BLOCK_K, 32)
        s = tk.product(z, tl.trans(z), s, PRECISION, UPCAST)
    return s


@triton.jit
def attention_weights(s, others, views, log2_rate, ATTENTION: tl.constexpr):
    """a_ij over the other views of the source; log2_rate = log2(e) / attention_temperature."""
    if ATTENTION == "softmax":
        x = tl.where(others, s, tk.ABSENT)
        x = tl.where(others, tl.exp2((x - tl.max(x, 1)[:, None]) * log2_rate), 0.0)
        a = x / tl.sum(x, 1)[:, None]
    else:
        a = tl.where(others, 1.0 / (views - 1).to(tl.float32), 0.0)
    return a


@triton.jit
def rank_within_row(key, views, o_col):
    """Rank of each key within its row, ties in column order: a sort that moves no data."""
    rank = tl.zeros(key.shape, tl.int32)
    for c in range(views):
        other = tk.column(key, c, o_col)[:, None]
        rank += ((other < key) | ((other == key) & (c < o_col[None, :]))).to(tl.int32)
    return rank


@triton.jit
def add_negatives_and_store(
    dsp, z_ptr, parts_ptr, gradient_ptr, row, own_row, rows, views, splits, parts_scale,
    D: tl.constexpr, BLOCK_K: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """gradient = parts_scale * sum over splits of parts + (dsp + dsp^T) z, for the views of one source."""
    both = dsp + tl.trans(dsp)
    o_k = tl.arange(0, BLOCK_K)[:, None]
    for c in range((D + 31) // 32):
        z = tk.load_embeddings(z_ptr, row, views, c, D, BLOCK_K, 32).to(tl.float32)
        o_dim = c * 32 + tl.arange(0, 32)[None, :]
        inside = (o_k < views) & (o_dim < D)
        negatives = tl.zeros([BLOCK_K, 32], tl.float32)
        for split in range(splits):
            p_part = parts_ptr + (split * rows + own_row).to(tl.int64) * D + (o_k * D + o_dim)
            negatives += tl.load(p_part, mask=inside, other=0.0)
        gradient = tk.product(both, z, negatives * parts_scale, PRECISION, UPCAST)
        tl.store(gradient_ptr + tl.cast(own_row, tl.int64) * D + (o_k * D + o_dim), gradient, mask=inside)


@triton.jit(do_not_specialize=["views"])
def thresholds(
    z_ptr, table_ptr, order_ptr, views, margin, log2_rate, weight_scale,
    D: tl.constexpr, BLOCK_K: tl.constexpr, TILE: tl.constexpr, ATTENTION: tl.constexpr, PRECISION: tl.constexpr,
    UPCAST: tl.constexpr,
):  # fmt: skip
    """Fill the table of thresholds, ascending for every anchor, and order[anchor, view], the slot of each view.

    Attention "rank": all views, no weights yet. Otherwise the own view sorts last, outside the table.
    """
    source = tl.program_id(0)
    s = own_similarity(z_ptr, source, views, D, BLOCK_K, PRECISION, UPCAST)
    o_k = tl.arange(0, BLOCK_K)
    inside = (o_k[:, None] < views) & (o_k[None, :] < views)
    taking_part = inside
    slots = views
    if ATTENTION != "rank":
        taking_part = taking_part & (o_k[:, None] != o_k[None, :])
        slots = views - 1
    # even an infinite threshold sorts before entries that take no part
    rank = rank_within_row(tl.where(taking_part, tl.minimum(s - margin, 1.0e38), tk.FAR), views, o_k)
    row = source * views + o_k
    tl.store(order_ptr + tl.cast(row, tl.int64)[:, None] * views + o_k[None, :], rank.to(tl.int8), mask=inside)
    p_t = tk.threshold_pointers(table_ptr, row, slots, TILE)[:, None] + rank * (2 * TILE)
    tl.store(p_t, s - margin, mask=taking_part & (rank < slots))
    if ATTENTION != "rank":
        others = (o_k[None, :] < views) & (o_k[:, None] != o_k[None, :])
        a = attention_weights(s, others, views, log2_rate, ATTENTION)
        tl.store(p_t + TILE, a * weight_scale, mask=taking_part & (rank < slots))


@triton.jit
def load_order(order_ptr, row, views, o_k, taking_part):
    """The slots of a source's thresholds in the table."""
    p_order = order_ptr + tl.cast(row, tl.int64) * views + (o_k[:, None] * views + o_k[None, :])
    return tl.load(p_order, mask=taking_part, other=0).to(tl.int32)


@triton.jit
def sums_over_negatives(
    sums_ptr, order, own_row, row_tiles, splits, slots, taking_part, BLOCK_K: tl.constexpr, BLOCK_M: tl.constexpr,
):  # fmt: skip
    """h_ij and u_ij of a source's anchors, added up over the splits of `sweep`."""
    o_row = own_row + tl.arange(0, BLOCK_K)
    h = tl.zeros([BLOCK_K, BLOCK_K], tl.float32)
    u = tl.zeros([BLOCK_K, BLOCK_K], tl.float32)
    for split in range(splits):
        tile = (split * row_tiles + o_row // BLOCK_M).to(tl.int64)[:, None]
        p_h = sums_ptr + (tile * slots + order) * (2 * BLOCK_M) + (o_row % BLOCK_M * 2)[:, None]
        h += tl.load(p_h, mask=taking_part, other=0.0)
        u += tl.load(p_h + 1, mask=taking_part, other=0.0)
    return h, u


@triton.jit(do_not_specialize=["B", "batch", "views", "row_start", "rows", "row_tiles", "splits"])
def finish_mean(
    z_ptr, order_ptr, sums_ptr, parts_ptr, loss_ptr, gradient_ptr, B, batch, views, row_start, rows, row_tiles, splits,
    margin, attention_log2_rate, attention_rate, slope_rate, weight_scale,
    D: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_M: tl.constexpr, ATTENTION: tl.constexpr, PENALTY: tl.constexpr,
    GRADIENT: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """loss[source] = sum of l_i / batch, and the gradient of the source's views. B: batch and extra negatives.

    attention_rate: 1 / attention_temperature, or 0 if attention is constant. slope_rate: factor missing from the
    sweep's slopes.
    """
    own_row = tl.program_id(0) * views
    s = own_similarity(z_ptr, row_start // views + tl.program_id(0), views, D, BLOCK_K, PRECISION, UPCAST)
    o_k = tl.arange(0, BLOCK_K)
    others = (o_k[None, :] < views) & (o_k[:, None] != o_k[None, :])
    taking_part = others & (o_k[:, None] < views)
    a = attention_weights(s, others, views, attention_log2_rate, ATTENTION)
    order = load_order(order_ptr, row_start + own_row, views, o_k, taking_part)
    h, u = sums_over_negatives(sums_ptr, order, own_row, row_tiles, splits, views - 1, taking_part, BLOCK_K, BLOCK_M)
    if PENALTY == "hinge":
        h -= u * (s - margin)
    per_negative = 1.0 / (B - views).to(tl.float32)
    h = tl.where(taking_part, h * per_negative, 0.0)
    u = u * (slope_rate * per_negative)
    losses = tl.sum(a * h, 1)
    tl.store(loss_ptr + tl.program_id(0), tl.sum(tl.where(o_k < views, losses, 0.0)) / batch.to(tl.float32))
    if GRADIENT:
        dsp = a * ((h - losses[:, None]) * attention_rate - u) / batch.to(tl.float32)
        dsp = tl.where(taking_part, dsp, 0.0)
        parts_scale = slope_rate * per_negative / batch.to(tl.float32) / weight_scale
        add_negatives_and_store(
            dsp, z_ptr, parts_ptr, gradient_ptr, row_start + own_row, own_row, rows, views, splits, parts_scale,
            D, BLOCK_K, PRECISION, UPCAST,
        )  # fmt: skip
