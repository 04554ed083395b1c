"""Shared by the two-tower kernels: the rows of one tower against all columns of the other."""

from torch import Tensor

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
