"""Anchors and their columns in plain PyTorch: everything that the fused kernels do not compute.

Losses are computed for a block of anchors at a time, and again in the backward pass, so that memory is that of a block;
autograd differentiates them. With several processes each computes its own anchors, and the backward pass communicates.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from gravis_kernels.batch import normalized
from gravis_kernels.distributed import Exchange, GatherWithGradient
from gravis_kernels.gravis.compute import precision_of
from gravis_kernels.gravis.reference import ABSENT
from gravis_kernels.validation import Reduction

BLOCK = 2**22  # values per block

# from similarities of some anchors to their members (A, K), which of these exist and which are positives, both (A, K),
# and similarities to all columns (A, C + M), `ABSENT` for members, to losses (A,)
LossOf = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


class Anchors(NamedTuple):
    """Own rows (A, dim) as anchors, and all columns (C + M, dim): rows with labels, then extra negatives.

    members: (A, K), the columns with an anchor's label; beyond their number, the last of them, or any if there is none.
    member: (A, K), which of these exist. positive: (A, K), which of these exist and are not the anchor itself.
    """

    rows: Tensor
    columns: Tensor
    members: Tensor
    member: Tensor
    positive: Tensor

    def losses(self, loss_of: LossOf, values_per_pair: int = 1) -> Tensor:
        """`loss_of` all anchors, (A,); values_per_pair: what it keeps for an anchor and a column."""

        def of_block(block: slice) -> Tensor:
            members, member = self.members[block], self.member[block]
            similarities = self.rows[block] @ self.columns.T
            positives = similarities.gather(1, members)
            absent = positives.detach().masked_fill(member[:, :1], ABSENT)  # nothing is, if there is no member
            return loss_of(positives, member, self.positive[block], similarities.scatter(1, members, absent))

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
        exchange = Exchange(columns, views, gradient, process_group, text, least_views=2 if labels is None else 1)
        columns = GatherWithGradient.apply(columns, exchange)
        start += exchange.start if references is None else 0
        if column_labels is not None:
            column_labels = exchange.gather(column_labels.long()[:, None])[:, 0]
    position = torch.arange(start, start + len(rows), device=rows.device)
    if labels is None or column_labels is None:
        members = (position // views * views)[:, None] + torch.arange(views, device=rows.device)
        member = torch.ones_like(members, dtype=torch.bool)
    else:
        members, member = _find(labels, column_labels)
    if extra_negatives is not None:
        columns = torch.cat([columns, _prepare(extra_negatives.detach().to(columns), normalize)])
    return Anchors(rows, columns, members, member, member & (members != position[:, None]))


def _find(labels: Tensor, column_labels: Tensor) -> tuple[Tensor, Tensor]:
    """Columns with each label, (labels, K), and whether they have it."""
    labels, (values, order) = labels.long(), column_labels.long().sort(stable=True)
    first, end = torch.searchsorted(values, labels), torch.searchsorted(values, labels, right=True)
    most = int((end - first).max()) if len(labels) else 1
    place = first[:, None] + torch.arange(max(1, most), device=labels.device)
    return order[place.minimum(end[:, None] - 1).clamp(min=0)], place < end[:, None]


def in_blocks(loss_of: Callable[[slice], Tensor], anchors: int, values_per_anchor: int) -> Tensor:
    """`loss_of` blocks of anchors, concatenated."""
    size = max(1, BLOCK // values_per_anchor)
    blocks = [slice(first, min(first + size, anchors)) for first in range(0, anchors, size)]
    return torch.cat([checkpoint(loss_of, block, use_reentrant=False, preserve_rng_state=False) for block in blocks])


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
