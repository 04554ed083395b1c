# mypy: allow-untyped-defs, disable-error-code=annotation-unchecked
"""Device functions shared by the Triton kernels: matrix products, loads, masks, penalties."""

import triton
import triton.language as tl

# Marks a missing similarity; finite even when multiplied by a rate, which avoids NaN from 0 * inf.
ABSENT = tl.constexpr(-1.0e30)
# Marks a missing threshold: above every similarity.
FAR = tl.constexpr(3.0e38)


@triton.jit
def product(x, y, accumulator, PRECISION: tl.constexpr, UPCAST: tl.constexpr):
    """accumulator + x @ y in float32; UPCAST: multiplied in float64 and rounded once (the interpreter).

    The interpreter multiplies by NumPy's BLAS: it lacks bfloat16, and may round s_in and s_ni differently in float32.
    """
    if UPCAST:
        x, y, accumulator = x.to(tl.float64), y.to(tl.float64), accumulator.to(tl.float64)
        product = tl.dot(x, y, accumulator, out_dtype=tl.float64).to(tl.float32)
    else:
        product = tl.dot(x, y, accumulator, input_precision=PRECISION)
    return product


@triton.jit
def load_embeddings(z_ptr, first, count, chunk, D: tl.constexpr, BLOCK: tl.constexpr, BLOCK_D: tl.constexpr):
    """Load rows first .. first+BLOCK, dimensions chunk*BLOCK_D ..; zero from row `count` of the block on and past D."""
    o_row = tl.arange(0, BLOCK)[:, None]
    o_dim = chunk * BLOCK_D + tl.arange(0, BLOCK_D)[None, :]
    inside = o_row < count
    if D % BLOCK_D != 0:
        inside = inside & (o_dim < D)
    return tl.load(z_ptr + tl.cast(first, tl.int64) * D + (o_row * D + o_dim), mask=inside, other=0.0)


@triton.jit
def load_columns(z_ptr, first, B, chunk, D: tl.constexpr, BLOCK: tl.constexpr, BLOCK_D: tl.constexpr):
    """Like `load_embeddings`, but rows from B on repeat the last one, which is cheaper than a mask."""
    o_row = tl.minimum(tl.arange(0, BLOCK), B - 1 - first)[:, None]
    o_dim = chunk * BLOCK_D + tl.arange(0, BLOCK_D)[None, :]
    p_z = z_ptr + tl.cast(first, tl.int64) * D + (o_row * D + o_dim)
    inside = None
    if D % BLOCK_D != 0:
        inside = o_dim < D
    return tl.load(p_z, mask=inside, other=None if inside is None else 0.0)


@triton.jit
def store_part(
    parts_ptr, dz, split, chunk, own_row, rows, D: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_D: tl.constexpr
):
    """Store one program's part of the gradient in parts[split, row, D]."""
    o_row = own_row + tl.arange(0, BLOCK_M)[:, None]
    o_dim = chunk * BLOCK_D + tl.arange(0, BLOCK_D)[None, :]
    p_part = parts_ptr + (tl.cast(split, tl.int64) * rows + o_row) * D + o_dim
    tl.store(p_part, dz, mask=(o_row < rows) & (o_dim < D))


@triton.jit
def similarities(
    x_ptr, y_ptr, x, y, row, row_end, col, col_end, views, D: tl.constexpr, BLOCK_INNER: tl.constexpr,
    PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """<x_i, y_n> of rows from `row` and columns from `col` on, ABSENT for the same source and from either end on.

    x, y: the tiles' first dimensions, which are all if D <= BLOCK_INNER.
    """
    BLOCK_M: tl.constexpr = x.shape[0]
    BLOCK_N: tl.constexpr = y.shape[0]
    s = tl.zeros([BLOCK_M, BLOCK_N], tl.float32)
    if D <= BLOCK_INNER:
        s = product(x, tl.trans(y), s, PRECISION, UPCAST)
    else:
        for c in range((D + BLOCK_INNER - 1) // BLOCK_INNER):
            some_x = load_columns(x_ptr, row, row_end, c, D, BLOCK_M, BLOCK_INNER)
            some_y = load_columns(y_ptr, col, col_end, c, D, BLOCK_N, BLOCK_INNER)
            s = product(some_x, tl.trans(some_y), s, PRECISION, UPCAST)
    return keep_negatives(s, row, row_end, col, col_end, views)


@triton.jit
def keep_negatives(s, row, row_end, col, col_end, views):
    """s with ABSENT where row and column have the same source or do not exist.

    Most tiles contain only negatives: one branch per tile detects this, and only the others pay for a mask.
    """
    BLOCK_M: tl.constexpr = s.shape[0]
    BLOCK_N: tl.constexpr = s.shape[1]
    clash = (col < row + BLOCK_M + views) & (col + BLOCK_N + views > row)
    if clash | (row + BLOCK_M > row_end) | (col + BLOCK_N > col_end):
        o_row = row + tl.arange(0, BLOCK_M)
        o_col = (col + tl.arange(0, BLOCK_N))[None, :]
        own = (o_row // views * views)[:, None]
        end = tl.where(o_row < row_end, col_end, 0)[:, None]
        s = tl.where(((o_col < own) | (o_col >= own + views)) & (o_col < end), s, ABSENT)
    return s


@triton.jit
def threshold_pointers(table_ptr, row, slots, TILE: tl.constexpr):
    """Pointers to the first threshold of each row in the table [tile, slot, (threshold, weight), row of tile]."""
    return table_ptr + (row // TILE).to(tl.int64) * (slots * 2 * TILE) + row % TILE


@triton.jit
def split2(x):
    """The left and right halves of the columns of x."""
    M: tl.constexpr = x.shape[0]
    N: tl.constexpr = x.shape[1]
    return tl.split(tl.permute(tl.reshape(x, [M, 2, N // 2]), (0, 2, 1)))


@triton.jit
def concat2(x, y):
    """The inverse of `split2`."""
    M: tl.constexpr = x.shape[0]
    N: tl.constexpr = x.shape[1]
    return tl.reshape(tl.permute(tl.join(x, y), (0, 2, 1)), [M, 2 * N])


@triton.jit
def split8(x):
    """Split x into eight blocks of columns, left to right; this only renames registers.

    Summing over columns block by block is a chain of fused multiply-adds; over a whole tile it is a tree,
    which cannot fuse the multiplications.
    """
    a, b = split2(x)
    a0, a1 = split2(a)
    b0, b1 = split2(b)
    return split2(a0) + split2(a1) + split2(b0) + split2(b1)


@triton.jit
def concat8(p):
    """The inverse of `split8`."""
    left = concat2(concat2(p[0], p[1]), concat2(p[2], p[3]))
    right = concat2(concat2(p[4], p[5]), concat2(p[6], p[7]))
    return concat2(left, right)


@triton.jit
def column(x, c, o_col):
    """Column c of x, as a vector."""
    return tl.sum(tl.where(o_col[None, :] == c, x, 0.0), 1)


@triton.jit
def reciprocal(x):
    """1 / x for x >= 1, in two instructions; a division takes eight."""
    r = tl.rsqrt(x)
    return r * r


@triton.jit
def slope(s, t, log2_rate, PENALTY: tl.constexpr):
    """phi'(s - t), multiplied by the temperature for "sigmoid"; log2_rate = log2(e) / temperature."""
    if PENALTY == "hinge":
        d = (s > t).to(tl.float32)
    elif PENALTY == "softplus":
        d = reciprocal(1.0 + tl.exp2((t - s) * log2_rate))
    else:
        tl.static_assert(PENALTY == "sigmoid", "unknown penalty")
        e = tl.exp2(-tl.abs(s - t) * log2_rate)
        r = reciprocal(1.0 + e)
        d = e * r * r
    return d


@triton.jit
def value_and_slope(s, t, log2_rate, PENALTY: tl.constexpr):
    """phi(s - t) in parts (v, f), and `slope`. Stable for differences of any size: e is in [0, 1].

    The parts make the sum of phi over many s cheap:
    hinge: phi = v - t * slope; sigmoid: phi = v; softplus: phi = v + log2(f) / log2_rate, where one logarithm
    serves the product of several f, each at most 2.
    """
    if PENALTY == "hinge":
        d = (s > t).to(tl.float32)
        v = s * d
        f = d
    else:
        x = s - t
        e = tl.exp2(-tl.abs(x) * log2_rate)
        r = reciprocal(1.0 + e)
        v = tl.where(x > 0, r, e * r)
        d = e * r * r
        f = 1.0 + e
        if PENALTY == "softplus":
            d = v
            v = tl.maximum(x, 0.0)
        else:
            tl.static_assert(PENALTY == "sigmoid", "unknown penalty")
    return v, f, d


@triton.jit
def value_alone(v, f, d, t, log2_rate, PENALTY: tl.constexpr):
    """phi from the parts of `value_and_slope`."""
    if PENALTY == "hinge":
        v -= t * d
    elif PENALTY == "softplus":
        v += tl.log2(f) / log2_rate
    return v


@triton.jit
def exact_value_and_slope(s, t, log2_rate, PENALTY: tl.constexpr):
    """phi(s - t) and phi'(s - t), accurate for small values; for the few pairs within a source."""
    v, f, d = value_and_slope(s, t, log2_rate, PENALTY)
    if PENALTY == "softplus":
        # log(1 + e) = log(f) e / (f - 1): rounding errors cancel
        e = tl.exp2(-tl.abs(s - t) * log2_rate)
        safe = tl.where(f == 1.0, 1.0, f - 1.0)
        v += tl.where(f == 1.0, e * 1.4426950408889634, tl.log2(f) * (e / safe)) / log2_rate
    else:
        v = value_alone(v, f, d, t, log2_rate, PENALTY)
    return v, d
