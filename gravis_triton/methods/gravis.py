"""The GraVIS family: group the views of an image, separate them from the views of all other images.

Zhou, Lu, Wang, Yu: GraVIS: Grouping Augmented Views from Independent Sources for Dermatology Analysis. IEEE TMI 2023,
arXiv 2301.04410. The losses, with formulas, are `gravis_kernels.gravis_loss` and `gravis_kernels.nt_xent_loss`.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, fields, replace
from typing import Annotated, Any, ClassVar, Literal

import torch
import torch.distributed as dist
import torch.nn.functional as F
from gravis_kernels import GravisSettings, complete_settings, grouping_loss, nt_xent_loss
from gravis_kernels.settings import Negatives, Penalty
from pydantic import Field
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from gravis_triton.data.loading.loader import ImageBatch
from gravis_triton.errors import UserError
from gravis_triton.methods.base import Method, Metrics, Positive, Width, full_precision, mlp, per_view
from gravis_triton.models import feature_dim
from gravis_triton.settings.fields import Argument
from gravis_triton.views import ViewMaker

_MAX_TRIPLETS = 2**20  # (anchor, positive, negative) per step in the metrics; anchors are subsampled to stay below


class JointEmbedding(Method):
    """Embed all views by an encoder with a projection head; the loss is of the views of all processes at once.

    The projection head has two layers, as published, and is discarded after pre-training.
    """

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """Projection head."""

        projection_hidden: Annotated[int | None, Field(ge=1), Argument(default="the feature dimension")] = None
        """Width of the hidden layer of the projection head."""
        projection_dim: Width = 128
        """Dimension of the embeddings."""
        grad_cache_chunk: Annotated[int | None, Field(ge=2), Argument(default="all at once")] = None
        """Encode this many views at a time, to fit larger batches in memory; gradients stay the same."""

    fixed: ClassVar[Mapping[str, Any]] = {}
    """Settings of `gravis_kernels.complete_settings` that define the member of the family; the rest are flags."""

    def __init__(self, encoder: nn.Module, view_maker: ViewMaker, settings: Any) -> None:
        super().__init__(encoder, view_maker, settings)
        self.loss_settings = self._loss_settings(settings)
        if self.loss_settings.attention == "softmax":
            self.attention_temperature = self.loss_settings.attention_temperature
        features = feature_dim(encoder)
        hidden = settings.projection_hidden or features
        self.projection = mlp(features, hidden, settings.projection_dim, batch_norm=False)

    @classmethod
    def complete(cls, settings: Any) -> Any:
        """The settings with the margin and the reduction over negatives that the penalty brings."""
        complete = asdict(cls._loss_settings(settings))
        return replace(settings, **{name: complete[name] for name in complete.keys() & _names(settings)})

    @classmethod
    def _loss_settings(cls, settings: Any) -> GravisSettings:
        given = {name: getattr(settings, name) for name in _names(settings) & _names(GravisSettings)}
        try:
            return complete_settings(**cls.fixed, **{name: value for name, value in given.items() if value is not None})
        except ValueError as error:
            raise UserError(str(error)) from error

    def forward(self, views: Tensor, batch: ImageBatch, step: int) -> tuple[Tensor, Metrics]:
        embeddings = self.embed(views)
        embeddings = embeddings.to(torch.promote_types(embeddings.dtype, torch.float32))
        with full_precision(embeddings.device):
            loss = self.loss(embeddings)
        return loss, grouping_metrics(embeddings.detach(), self.loss_settings)

    def loss(self, embeddings: Tensor) -> Tensor:
        """The loss of embeddings (images, views, dim), not normalized, and those of the other processes."""
        return grouping_loss(embeddings, self.loss_settings, process_group=dist.group.WORLD, ddp_scale=True)

    def embed(self, views: Tensor) -> Tensor:
        """Embeddings (images, views, dim), not normalized.

        In chunks, the encoder runs again in the backward pass (GradCache, Gao et al., 2021, arXiv 2101.06983): this
        needs the memory of one chunk. BatchNorm computes its statistics per chunk instead of per batch.
        """
        return per_view(self._project_in_chunks, views)

    def _project_in_chunks(self, views: Tensor) -> Tensor:
        chunk = self.settings.grad_cache_chunk
        if chunk is None or chunk >= len(views):
            return self._project(views)
        # of nearly equal size: a small last chunk would have poor BatchNorm statistics
        chunks = views.tensor_split(math.ceil(len(views) / chunk))
        parts = [checkpoint(self._project, part, use_reentrant=False, context_fn=self._recompute) for part in chunks]
        return torch.cat(parts)

    def _project(self, views: Tensor) -> Tensor:
        return self.projection(self.encoder(views))

    def _recompute(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _kept_batch_statistics(self)


class Gravis(JointEmbedding):
    """Hardness-aware attention over the positives of an anchor, and the soft hardest negative."""

    @dataclass(frozen=True, kw_only=True)
    class Settings(JointEmbedding.Settings):
        """GraVIS loss: attention over positives, penalty for negatives within the margin, and its projection head."""

        margin: Annotated[float | None, Argument(default="0, or 0.5 for the hinge")] = None
        """Margin between the similarities of positives and negatives."""
        attention: Literal["softmax", "uniform"] = "softmax"
        """How to weight the positives of an anchor."""
        attention_temperature: Positive = 0.5
        """Temperature of softmax attention; lower values focus on the most similar views."""
        negatives: Annotated[Negatives | None, Argument(default="set by the penalty")] = None
        """How to reduce over negatives: mean, or logsumexp (a soft hardest negative)."""
        penalty: Penalty = "softplus"
        """Penalty for a margin violation."""
        temperature: Positive = 0.1
        """Temperature of the penalty and of the log-sum-exp."""


class GravisRank(JointEmbedding):
    """The loss of the authors' released code, 1 - Smooth-AP: each positive is weighted by its soft rank."""

    @dataclass(frozen=True, kw_only=True)
    class Settings(JointEmbedding.Settings):
        """GraVIS with rank attention, as in the authors' released code, and its projection head."""

        temperature: Positive = 0.2
        """Temperature of the soft ranks."""

    fixed: ClassVar[Mapping[str, Any]] = {"attention": "rank"}


class NTXent(JointEmbedding):
    """NT-Xent over all views of an image; with --views 2 the loss of SimCLR (Chen et al., 2020, arXiv 2002.05709)."""

    @dataclass(frozen=True, kw_only=True)
    class Settings(JointEmbedding.Settings):
        """Multi-view NT-Xent loss (SimCLR for --views 2), and its projection head."""

        temperature: Positive = 0.1
        """Temperature of the softmax over negatives."""

    fixed: ClassVar[Mapping[str, Any]] = {"attention": "uniform", "penalty": "softplus"}

    def loss(self, embeddings: Tensor) -> Tensor:
        """NT-Xent of embeddings (images, views, dim), not normalized, and those of the other processes."""
        return nt_xent_loss(
            embeddings, temperature=self.settings.temperature, process_group=dist.group.WORLD, ddp_scale=True
        )


class Triplet(JointEmbedding):
    """The batch-all triplet loss: uniform attention, hinge, mean over negatives."""

    @dataclass(frozen=True, kw_only=True)
    class Settings(JointEmbedding.Settings):
        """Batch-all triplet loss, and its projection head."""

        margin: float = 0.5
        """Margin between the similarities of positives and negatives."""

    fixed: ClassVar[Mapping[str, Any]] = {"attention": "uniform", "penalty": "hinge"}


def _names(settings: Any) -> set[str]:
    return {field.name for field in fields(settings)}


@contextmanager
def _kept_batch_statistics(model: nn.Module) -> Iterator[None]:
    """Freeze BatchNorm's running statistics, so that encoding twice counts once."""
    layers = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = 0.0
    try:
        yield
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum


@torch.no_grad()
def grouping_metrics(embeddings: Tensor, settings: GravisSettings) -> Metrics:
    """How well the views of an image are grouped, from embeddings (images, views, dim) of one process.

    similarity/positives, similarity/negatives: mean cosine similarity of a view to the other views of its image, and to
        views of other images; in [-1, 1].
    active_triplets: fraction of triplets whose positive is not more similar than the negative by at least the margin.
    attention_entropy: entropy of the attention over the positives, divided by its maximum; 1 is uniform. Left out if
        there is only one positive.
    """
    views = embeddings.shape[1]
    columns = F.normalize(embeddings.float().flatten(0, 1), dim=1)
    batch, device = len(columns), columns.device
    anchors = torch.arange(0, batch, math.ceil(batch * batch * views / _MAX_TRIPLETS), device=device)
    similarity = columns[anchors] @ columns.T  # (anchors, batch)
    negative = (anchors // views)[:, None] != torch.arange(batch, device=device) // views  # (anchors, batch)
    # (anchors, views): similarity to all views of the anchor's image, and which of them are not the anchor itself
    own = (anchors // views)[:, None] * views + torch.arange(views, device=device)
    grouped, positive = similarity.gather(1, own), own != anchors[:, None]
    positives = len(anchors) * (views - 1)
    active = similarity[:, None] > grouped[:, :, None] - settings.margin  # (anchors, views, batch)
    attention = _attention(grouped, similarity, positive, negative, settings)
    metrics = {
        "similarity/positives": (grouped * positive).sum() / positives,
        "similarity/negatives": (similarity * negative).sum() / (len(anchors) * (batch - views)),
        "active_triplets": (active & positive[:, :, None] & negative[:, None]).sum() / (positives * (batch - views)),
    }
    if views > 2:
        metrics["attention_entropy"] = torch.special.entr(attention).sum(1).mean() / math.log(views - 1)
    return metrics


def _attention(
    grouped: Tensor, similarity: Tensor, positive: Tensor, negative: Tensor, settings: GravisSettings
) -> Tensor:
    """Weights (anchors, views) of an image's views, 0 for the anchor itself, that sum to 1 over the positives."""
    if settings.attention == "softmax":
        return (grouped / settings.attention_temperature).masked_fill(~positive, -torch.inf).softmax(1)
    weights = torch.ones_like(grouped)
    if settings.attention == "rank":
        closer = torch.sigmoid((grouped[:, None] - grouped[:, :, None]) / settings.temperature).sum(2)
        others = torch.sigmoid((similarity[:, None] - grouped[:, :, None]) / settings.temperature)
        weights = 1 / (0.5 + closer + (others * negative[:, None]).sum(2))
    return F.normalize(weights * positive, p=1, dim=1)
