"""Losses to compare with: dense versions of the losses of this package, and those of other libraries."""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from gravis_kernels import GravisSettings, clip_loss, siglip_loss, supcon_loss
from gravis_kernels.gravis.reference import anchor_losses
from gravis_kernels.nt_xent.reference import anchor_losses as nt_xent_anchor_losses
from gravis_kernels.supcon.reference import anchor_losses as supcon_anchor_losses
from torch import Tensor
from torch.nn.functional import cross_entropy, logsigmoid, normalize

Loss = Callable[[Tensor], Tensor]

HINGE = GravisSettings(margin=0.5, attention_temperature=0.1, negatives="mean", penalty="hinge")
TEMPERATURE = 0.2
TOWERS_SCALE, TOWERS_BIAS = 20.0, -10.0
QUEUE = 65_536  # rows, as in MoCo
ROW_BLOCK_BYTES = 4 * 2**20  # the fastest of 0.5 to 64 MiB for 5,120 views


def _rows(embeddings: Tensor) -> Tensor:
    return normalize(embeddings, dim=2).flatten(0, 1)


def dense_loss(settings: GravisSettings) -> Loss:
    return lambda x: anchor_losses(_rows(x), x.shape[1], settings).mean()


def dense_nt_xent(x: Tensor) -> Tensor:
    return nt_xent_anchor_losses(_rows(x), x.shape[1], TEMPERATURE).mean()


def released_loss(x: Tensor) -> Tensor:
    """1 - Smooth-AP from the tensor of all differences s_in - s_ij: O(B^3) time and memory."""
    sources, views, _ = x.shape
    rows = _rows(x)
    similarities = rows @ rows.T
    above = torch.sigmoid((similarities[:, None, :] - similarities[:, :, None]) / TEMPERATURE)  # [i, j, n]
    others = 1 - torch.eye(len(rows), device=x.device, dtype=x.dtype)
    rank_among_all = 1 + (above * others).sum(2)
    source = torch.arange(sources, device=x.device)
    positives = similarities.view(sources, views, sources, views)[source, :, source]  # [source, i, j]
    above = torch.sigmoid((positives[:, :, None, :] - positives[:, :, :, None]) / TEMPERATURE)
    rank_among_positives = 1 + (above * others[:views, :views]).sum(3)
    all_ranks = rank_among_all.view(sources, views, sources, views)[source, :, source]
    return 1 - (rank_among_positives / all_ranks).mean()


class _RowBlocks(torch.autograd.Function):
    """The dense hinge loss and its gradient by autograd, a block of anchors at a time."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, views: int) -> Tensor:
        batch = len(rows)
        leaf = rows.detach().requires_grad_(ctx.needs_input_grad[0])
        size = max(1, ROW_BLOCK_BYTES // (4 * batch * views))
        total = rows.new_zeros(())
        for anchors in torch.arange(batch, device=rows.device).split(size):
            with torch.set_grad_enabled(ctx.needs_input_grad[0]):
                loss = _hinge_of(anchors, leaf, views) / batch
            if loss.requires_grad:
                loss.backward()
            total += loss.detach()
        ctx.save_for_backward(leaf.grad)
        return total

    @staticmethod
    def backward(ctx: Any, grad_loss: Tensor) -> tuple[Tensor, None]:
        return ctx.saved_tensors[0] * grad_loss, None


def _hinge_of(anchors: Tensor, rows: Tensor, views: int) -> Tensor:
    """Sum of l_i over the anchors, from a tensor (anchors, views, batch)."""
    similarities = rows[anchors] @ rows.T
    sources = torch.arange(len(rows), device=rows.device) // views
    own_source = sources[anchors][:, None] == sources
    positives = similarities[own_source].view(-1, views)
    own_view = (anchors % views)[:, None] == torch.arange(views, device=rows.device)
    attention = (positives / HINGE.attention_temperature).masked_fill(own_view, -torch.inf).softmax(1)
    lacks = (similarities[:, None, :] - positives[:, :, None] + HINGE.margin).relu()
    hardness = lacks.masked_fill(own_source[:, None, :], 0).sum(2) / (len(rows) - views)
    return (attention * hardness).sum()


def row_block_hinge(x: Tensor) -> Tensor:
    rows = _rows(x)
    if torch.is_grad_enabled():
        return _RowBlocks.apply(rows, x.shape[1])
    return _RowBlocks.apply(rows.detach(), x.shape[1])


def labelled(x: Tensor) -> tuple[Tensor, Tensor]:
    return x.flatten(0, 1), torch.arange(len(x), device=x.device).repeat_interleave(x.shape[1])


def dense_supcon(x: Tensor) -> Tensor:
    rows, labels = labelled(x)
    return supcon_anchor_losses(normalize(rows, dim=1), labels, TEMPERATURE).mean()


@cache
def queue(dim: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Rows of earlier batches, (QUEUE, dim)."""
    return torch.randn(QUEUE, dim, generator=torch.Generator().manual_seed(1)).to(device, dtype)


def queue_loss(x: Tensor, backend: str = "auto") -> Tensor:
    """Supervised contrastive loss with a queue of other labels."""
    extra = queue(x.shape[2], torch.float32, x.device).to(x.dtype)
    return supcon_loss(*labelled(x), extra_negatives=extra, temperature=TEMPERATURE, backend=backend)  # type: ignore[arg-type]


def dense_queue(x: Tensor) -> Tensor:
    rows, labels = labelled(x)
    extra = normalize(queue(x.shape[2], x.dtype, x.device), dim=1)
    return supcon_anchor_losses(torch.cat([normalize(rows, dim=1), extra]), labels, TEMPERATURE).mean()


def metric_queue(views: int) -> Loss:
    """Its rows are detached, including the batch's own rows, so its gradient differs."""
    from pytorch_metric_learning.losses import CrossBatchMemory, SupConLoss

    @cache
    def new_memory(dim: int, dtype: torch.dtype, device: torch.device) -> CrossBatchMemory:
        memory = CrossBatchMemory(SupConLoss(temperature=TEMPERATURE), dim, memory_size=QUEUE)
        memory.embedding_memory = queue(dim, dtype, device).clone()
        memory.label_memory = torch.arange(-QUEUE, 0, device=device)
        memory.has_been_filled = True
        return memory

    def loss(x: Tensor) -> Tensor:
        memory = new_memory(x.shape[2], x.dtype, x.device)
        memory.queue_idx = 0  # otherwise the rows of the last call would be positives
        return memory(*labelled(x))

    return loss


def towers_loss(loss: str, x: Tensor, backend: str = "auto") -> Tensor:
    """Loss "clip" or "siglip" of two views, image and text."""
    image, text = normalize(x, dim=2).unbind(1)
    if loss == "clip":
        return clip_loss(image, text, logit_scale=TOWERS_SCALE, backend=backend)  # type: ignore[arg-type]
    numbers = {"logit_scale": TOWERS_SCALE, "logit_bias": TOWERS_BIAS}
    return siglip_loss(image, text, **numbers, backend=backend)  # type: ignore[arg-type]


def dense_clip(views: int) -> Loss:
    _need_two(views)

    def loss(x: Tensor) -> Tensor:
        image, text = normalize(x, dim=2).unbind(1)
        logits, pair = TOWERS_SCALE * image @ text.T, torch.arange(len(x), device=x.device)
        return (cross_entropy(logits, pair) + cross_entropy(logits.T, pair)) / 2

    return loss


def dense_siglip(views: int) -> Loss:
    _need_two(views)

    def loss(x: Tensor) -> Tensor:
        image, text = normalize(x, dim=2).unbind(1)
        logits = TOWERS_SCALE * image @ text.T + TOWERS_BIAS
        signs = 2 * torch.eye(len(x), device=x.device, dtype=x.dtype) - 1
        return -logsigmoid(signs * logits).sum() / len(x)

    return loss


def metric_triplet(views: int) -> Loss:
    from pytorch_metric_learning.distances import CosineSimilarity
    from pytorch_metric_learning.losses import TripletMarginLoss

    loss = TripletMarginLoss(margin=HINGE.margin, distance=CosineSimilarity())
    return lambda x: loss(*labelled(x))


def metric_nt_xent(views: int) -> Loss:
    from pytorch_metric_learning.losses import NTXentLoss

    loss = NTXentLoss(temperature=TEMPERATURE)
    return lambda x: loss(*labelled(x))


def metric_supcon(views: int) -> Loss:
    from pytorch_metric_learning.losses import SupConLoss

    loss = SupConLoss(temperature=TEMPERATURE)
    return lambda x: loss(*labelled(x))


def lightly_nt_xent(views: int) -> Loss:
    from lightly.loss import NTXentLoss

    _need_two(views)
    loss = NTXentLoss(temperature=TEMPERATURE)
    return lambda x: loss(x[:, 0], x[:, 1])


def inf_cl(views: int) -> Loss:
    from inf_cl import cal_flash_loss

    _need_two(views)

    def loss(x: Tensor) -> Tensor:
        first, second = normalize(x, dim=2).unbind(1)
        scale = torch.tensor(1 / TEMPERATURE, device=x.device)
        return cal_flash_loss(first, second, scale=scale, head_dim=min(256, x.shape[2])).mean()

    return loss


def _need_two(views: int) -> None:
    if views != 2:
        raise ValueError(f"requires 2 views, got {views}")
