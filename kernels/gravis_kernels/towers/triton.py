# mypy: allow-untyped-defs, disable-error-code=annotation-unchecked
"""Shared by the two-tower kernels: the rows of one tower against all columns of the other."""

import triton
import triton.language as tl
from torch import Tensor

from gravis_kernels import tiles as tk
from gravis_kernels.gravis.triton import check
from gravis_kernels.gravis.triton_work import Work, plan
from gravis_kernels.settings import GravisSettings


def plan_tower(rows: Tensor, own: slice) -> Work:
    """The work on a tower's own rows; rows: (B, dim).

    ValueError: more than 1024 dimensions, or float64.
    """
    check(rows, 1)
    # the embeddings already include the scale
    return plan(rows, own.start, own.stop - own.start, 1, GravisSettings(temperature=1.0))


@triton.jit
def similarities(
    x_ptr, y_ptr, x, y, row, count_rows, col, B, D: tl.constexpr, BLOCK_INNER: tl.constexpr, PRECISION: tl.constexpr,
    UPCAST: tl.constexpr,
):  # fmt: skip
    """Similarities of rows x and columns y of the other tower; ABSENT for matches and past the last column."""
    s = tl.zeros([x.shape[0], y.shape[0]], tl.float32)
    if D <= BLOCK_INNER:
        s = tk.product(x, tl.trans(y), s, PRECISION, UPCAST)
    else:
        for c in range((D + BLOCK_INNER - 1) // BLOCK_INNER):
            some_x = tk.load_embeddings(x_ptr, row, count_rows, c, D, x.shape[0], BLOCK_INNER)
            some_y = tk.load_columns(y_ptr, col, B, c, D, y.shape[0], BLOCK_INNER)
            s = tk.product(some_x, tl.trans(some_y), s, PRECISION, UPCAST)
    return tk.keep_negatives(s, row, col, B, 1)
