"""BYOL: predict a slowly moving teacher's embedding of one view from another view; no negatives.

Grill et al.: Bootstrap Your Own Latent: A New Approach to Self-Supervised Learning. NeurIPS 2020, arXiv 2006.07733.
"""

import copy
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gravis_triton.data.loading.loader import ImageBatch
from gravis_triton.methods.base import Method, Metrics, Width, full_precision, mlp, per_view, update_average
from gravis_triton.models import feature_dim
from gravis_triton.settings.augmentation import Probability
from gravis_triton.views import ViewMaker


class BYOL(Method):
    """A student predicts the embeddings that its moving average, the teacher, has for the other views of an image."""

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """BYOL: projection, prediction, and the teacher's moving average."""

        projection_hidden: Width = 4096
        """Width of the hidden layers of projector and predictor."""
        projection_dim: Width = 256
        """Dimension of the embeddings."""
        teacher_momentum: Probability = 0.99
        """Momentum of the teacher at the start; it rises to 1 along a cosine."""

    def __init__(self, encoder: nn.Module, view_maker: ViewMaker, settings: Settings) -> None:
        super().__init__(encoder, view_maker, settings)
        hidden, dim = settings.projection_hidden, settings.projection_dim
        self.projector = mlp(feature_dim(encoder), hidden, dim)
        self.predictor = mlp(dim, hidden, dim)
        self.teacher = copy.deepcopy(nn.Sequential(encoder, self.projector)).requires_grad_(False)

    def forward(self, views: Tensor, batch: ImageBatch, step: int) -> tuple[Tensor, Metrics]:
        embeddings = self.embed(views)
        predictions = per_view(self.predictor, embeddings)
        with torch.no_grad():
            targets = per_view(self.teacher, views)
        with full_precision(views.device):
            loss = byol_loss(predictions.float(), targets.float())
        return loss, {"embedding_std": normalized_std(embeddings.detach())}

    def embed(self, views: Tensor) -> Tensor:
        return per_view(lambda flat: self.projector(self.encoder(flat)), views)

    def after_step(self, step: int, steps: int) -> None:
        student = nn.Sequential(self.encoder, self.projector)
        update_average(self.teacher, student, self.settings.teacher_momentum, step, steps)


def byol_loss(predictions: Tensor, targets: Tensor) -> Tensor:
    """Mean of 2 - 2 cos(predictions_i, targets_j) over the images and their pairs of views i != j.

    predictions, targets: (images, views, dim). With two views this is half of the paper's loss, which adds both orders.
    """
    views = predictions.shape[1]
    cosine = F.normalize(predictions, dim=-1) @ F.normalize(targets, dim=-1).transpose(1, 2)
    others = cosine.sum((1, 2)) - cosine.diagonal(dim1=1, dim2=2).sum(1)
    return 2 - 2 * others.mean() / (views * (views - 1))


def normalized_std(embeddings: Tensor) -> Tensor:
    """Standard deviation of the normalized embeddings over the views, mean over dimensions, times the square root of
    their number: about 1 if they spread over the sphere, 0 if all are the same (collapse)."""
    z = F.normalize(embeddings.float().flatten(0, -2), dim=-1)
    return z.std(0).mean() * z.shape[1] ** 0.5
