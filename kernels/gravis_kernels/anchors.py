"""Anchors and their columns in plain PyTorch: everything that the fused kernels do not compute.

Losses are computed for a block of anchors at a time, and again in the backward pass, so that memory is that of a block;
autograd differentiates them. With several processes each computes its own anchors, and the backward pass communicates.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.functional import pad
from torch.utils.checkpoint import checkpoint

from gravis_kernels.batch import normalized
from gravis_kernels.distributed import Exchange, GatherWithGradient
from gravis_kernels.gravis.compute import precision_of
from gravis_kernels.validation import Reduction

BLOCK = 2**22  # values per block


class Anchors(NamedTuple):
    """Own rows (A, dim) with labels (A,) as anchors, compared with columns (C + M, dim): rows with labels (C,), then
    extra negatives. Own rows are the columns from `start` on, or, if it is negative, no columns.
    """

    rows: Tensor
    labels: Tensor
    columns: Tensor
    column_labels: Tensor
    start: int

    def positives_and_negatives(self, block: slice) -> tuple[Tensor, Tensor]:
        """(block, C + M), bool; an anchor is neither of itself."""
        same = pad(
            self.labels[block, None] == self.column_labels, (0, len(self.columns) - len(self.column_labels))
        )
        position = torch.arange(self.start, self.start + len(self.rows), device=same.device)
        itself = position[block, None] == torch.arange(len(self.columns), device=same.device)
        return same & ~itself, ~same

    def count_positives(self) -> Tensor:
        """(A,), int64"""
        return in_blocks(
            lambda block: self.positives_and_negatives(block)[0].sum(1), len(self.rows), len(self.columns)
        )

    def losses(self, loss_of: Callable[[Tensor, Tensor, Tensor], Tensor], values_per_pair: int = 1) -> Tensor:
        """(A,): `loss_of` similarities, positives and negatives, each (block, C + M)."""

        def of_block(block: slice) -> Tensor:
            return loss_of(self.rows[block] @ self.columns.T, *self.positives_and_negatives(block))

        return in_blocks(of_block, len(self.rows), len(self.columns) * values_per_pair)


def gather_anchors(
    embeddings: Tensor,
    labels: Tensor | None,
    extra_negatives: Tensor | None,
    normalize: bool,
    process_group: dist.ProcessGroup | None,
    settings: str,
    references: tuple[Tensor, Tensor] | None = None,
) -> Anchors:
    """Check sizes and settings across processes, normalize, and gather with gradient.

    embeddings: (sources, views, dim), or (rows, dim) with labels (rows,). references: rows and labels to compare with
    instead of the embeddings.
    """
    views = embeddings.shape[1] if labels is None else 1
    rows = _prepare(embeddings, normalize).flatten(0, -2)
    columns, start = (rows, 0) if references is None else (_prepare(references[0], normalize), -len(rows))
    column_labels = labels if references is None else references[1]
    if process_group is not None:
        gradient = torch.is_grad_enabled() and (rows.requires_grad or columns.requires_grad)
        extra = 0 if extra_negatives is None else len(extra_negatives)
        text = f"{settings}, normalize {normalize}, {extra} extra negatives, gradient {gradient}"
        exchange = Exchange(
            columns, views, gradient, process_group, text, least_views=2 if labels is None else 1
        )
        columns = GatherWithGradient.apply(columns, exchange)
        start += exchange.start if references is None else 0
        if column_labels is not None:
            column_labels = exchange.gather(column_labels.long()[:, None])[:, 0]
    if labels is None or column_labels is None:
        column_labels = torch.arange(len(columns), device=rows.device) // views
        labels = column_labels[start : start + len(rows)]
    if extra_negatives is not None:
        columns = torch.cat([columns, _prepare(extra_negatives.detach().to(columns), normalize)])
    return Anchors(rows, labels, columns, column_labels, start)


def in_blocks(loss_of: Callable[[slice], Tensor], anchors: int, values_per_anchor: int) -> Tensor:
    """`loss_of` blocks of anchors, concatenated."""
    size = max(1, BLOCK // values_per_anchor)
    blocks = [slice(first, min(first + size, anchors)) for first in range(0, anchors, size)]
    return torch.cat(
        [checkpoint(loss_of, block, use_reentrant=False, preserve_rng_state=False) for block in blocks]
    )


def reduce(
    losses: Tensor,
    shares: Tensor,
    weight: Tensor | None,
    reduction: Reduction,
    process_group: dist.ProcessGroup | None,
    shape: torch.Size,
) -> Tensor:
    """Mean of all processes' losses by shares x weight, 0 without anchors; or "none": own losses x weight, in shape."""
    weight = losses.new_ones(()) if weight is None else weight.to(losses).flatten()
    if reduction == "none":
        return (losses * weight).view(shape)
    shares = shares * weight
    loss, total = (losses * shares).sum(), shares.sum()
    if process_group is not None:
        sums = torch.stack([loss, total]).detach()
        dist.all_reduce(sums, group=process_group)
        loss, total = sums[0] + (loss - loss.detach()), sums[1]
    return loss / total.masked_fill(total == 0, 1)


def _prepare(rows: Tensor, normalize: bool) -> Tensor:
    rows = rows.to(precision_of(rows))
    return normalized(rows)[0] if normalize else rows
