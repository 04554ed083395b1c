"""VICReg: views of an image agree, each dimension varies over the batch, and dimensions are uncorrelated.

Bardes, Ponce, LeCun: VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning. ICLR 2022,
arXiv 2105.04906.
"""

from dataclasses import dataclass

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.nn.functional import all_gather

from gravis_triton.data.loading.loader import ImageBatch
from gravis_triton.methods.base import Method, Metrics, Positive, Width, full_precision, mlp, per_view
from gravis_triton.models import feature_dim
from gravis_triton.views import ViewMaker

_EPSILON = 1e-4  # inside the square root of the variance, as in the authors' code


class VICReg(Method):
    """Embed views by an expander of three layers; the loss needs neither negatives nor a teacher."""

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """VICReg: expander and the weights of its three terms."""

        projection_hidden: Width = 2048
        """Width of the hidden layers of the expander."""
        projection_dim: Width = 2048
        """Dimension of the embeddings."""
        invariance_weight: Positive = 25.0
        """Weight of the mean squared distance between the views of an image."""
        variance_weight: Positive = 25.0
        """Weight of the hinge on the standard deviation of each dimension."""
        covariance_weight: Positive = 1.0
        """Weight of the squared covariances between dimensions."""

    def __init__(self, encoder: nn.Module, view_maker: ViewMaker, settings: Settings) -> None:
        super().__init__(encoder, view_maker, settings)
        hidden = settings.projection_hidden
        self.expander = mlp(feature_dim(encoder), hidden, hidden, settings.projection_dim)

    def forward(self, views: Tensor, batch: ImageBatch, step: int) -> tuple[Tensor, Metrics]:
        embeddings = self.embed(views)
        with full_precision(views.device):
            invariance, variance, covariance = vicreg_terms(_of_all_processes(embeddings.float()))
        s = self.settings
        loss = s.invariance_weight * invariance + s.variance_weight * variance + s.covariance_weight * covariance
        terms = {"invariance": invariance, "variance": variance, "covariance": covariance}
        return loss, {f"vicreg/{name}": term.detach() for name, term in terms.items()}

    def embed(self, views: Tensor) -> Tensor:
        return per_view(lambda flat: self.expander(self.encoder(flat)), views)


def vicreg_terms(embeddings: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Invariance, variance and covariance of embeddings z (images, views, dim); in the paper there are two views.

    invariance: mean squared difference of two views of an image, over dimensions, images and pairs of views.
    variance: mean over dimensions d and views v of max(0, 1 - sqrt(Var_images(z_vd) + 0.0001)).
    covariance: mean over views of the sum of squared off-diagonal entries of Cov_images(z_v), divided by dim; times 2,
        as the paper adds the terms of its two views.
    """
    images, views, dim = embeddings.shape
    # the mean of (z_i - z_j)^2 over the pairs i != j is twice the unbiased variance
    invariance = 2 * embeddings.var(1, correction=1).mean()
    variance = F.relu(1 - (embeddings.var(0) + _EPSILON).sqrt()).mean()
    centered = (embeddings - embeddings.mean(0)).transpose(0, 1)  # (views, images, dim)
    covariances = centered.transpose(1, 2) @ centered / (images - 1)  # (views, dim, dim)
    diagonal = covariances.diagonal(dim1=1, dim2=2)
    covariance = 2 * (covariances.square().sum() - diagonal.square().sum()) / (views * dim)
    return invariance, variance, covariance


def _of_all_processes(embeddings: Tensor) -> Tensor:
    """The embeddings of all processes, with gradient: averaged over the processes, it is that of one process."""
    return torch.cat(all_gather(embeddings)) if dist.is_initialized() else embeddings
