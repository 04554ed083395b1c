"""SupCon in tiled PyTorch: any device, memory O(B dim) plus a tile.

Its log-sum-exp is that of negatives "logsumexp" with every row as its own source.
"""

from torch import Tensor

from gravis_kernels.distributed import Gather
from gravis_kernels.gravis.logsumexp import LogSumExp, PlainLogSumExp
from gravis_kernels.settings import SMALLEST_PLAIN_TEMPERATURE
from gravis_kernels.supcon.positives import find_positives


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
    """Same contract as `gravis_kernels.supcon.reference.loss_and_gradient`.

    unit_rows: no embedding is longer than 1. gather: gathers values of own rows from all processes.
    """
    own, batch = slice(row_start, row_start + rows), len(labels)
    positives = find_positives(columns[:batch], labels, temperature)
    plain = unit_rows and temperature >= SMALLEST_PLAIN_TEMPERATURE
    others = (PlainLogSumExp if plain else LogSumExp)(columns, own, 1, batch, temperature)
    lse = others.values()
    loss = positives.loss(own, columns, lse)
    if not need_gradient:
        return loss, None
    if gather is not None:
        lse = gather(lse[:, None])[:, 0]
    gradient = others.gradient(own, lse, positives.weights)
    assert gradient is not None
    return loss, gradient + positives.gradient(own)
