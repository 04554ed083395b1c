"""DINO: a student classifies small and large views as its teacher classifies the large ones; no labels, no negatives.

Caron et al.: Emerging Properties in Self-Supervised Vision Transformers. ICCV 2021, arXiv 2104.14294.
"""

import copy
import math
from dataclasses import dataclass, replace
from typing import Annotated, TypeAlias

import torch
import torch.distributed as dist
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from gravis_triton.data.loading.loader import ImageBatch
from gravis_triton.errors import UserError
from gravis_triton.methods.base import Method, Metrics, Positive, Width, full_precision, per_view, update_average
from gravis_triton.models import eval_mode, feature_dim
from gravis_triton.settings.augmentation import Probability
from gravis_triton.views import ViewMaker

Fraction = Annotated[float, Field(gt=0, le=1)]
TwoSizes: TypeAlias = tuple[Tensor, Tensor]

_SMALLEST_CROP = 0.05  # of the image's area


class DINO(Method):
    """Self-distillation with a moving average as teacher, multi-crop, centering and sharpening.

    `--views` large views per image, of at least `--crop-scale` of its area, and `--local-views` small ones. The encoder
    that is evaluated and exported is the teacher's, which the paper found to be the better one.
    """

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """DINO: small views, prototypes, temperatures, and the teacher's moving average."""

        local_views: Annotated[int, Field(ge=1, le=64)] = 4
        """Number of small views per image besides the --views large ones."""
        local_size: Fraction = 0.5
        """Side of a small view as a fraction of the image size, rounded to a multiple of 16 pixels."""
        local_crop_scale: Fraction = 0.4
        """Maximum area of a small view as a fraction of the image; the minimum is 0.05."""
        projection_hidden: Width = 2048
        """Width of the hidden layers of the head."""
        projection_dim: Width = 256
        """Dimension before the prototypes."""
        prototypes: Width = 4096
        """Number of classes that the views are assigned to."""
        student_temperature: Positive = 0.1
        """Temperature of the student's softmax."""
        teacher_temperature: Positive = 0.04
        """Temperature of the teacher's softmax; lower values sharpen its targets."""
        teacher_momentum: Probability = 0.99
        """Momentum of the teacher at the start; it rises to 1 along a cosine."""
        center_momentum: Probability = 0.9
        """Momentum of the center that is subtracted from the teacher's outputs."""

    def __init__(self, encoder: nn.Module, view_maker: ViewMaker, settings: Settings) -> None:
        super().__init__(encoder, view_maker, settings)  # the encoder becomes the teacher
        self.local_view_maker = ViewMaker(
            replace(view_maker.settings, views=settings.local_views, crop_scale=_SMALLEST_CROP),
            size=max(16, round(settings.local_size * view_maker.size / 16) * 16),
            mean=tuple(view_maker.mean.flatten().tolist()),
            std=tuple(view_maker.std.flatten().tolist()),
            max_crop_scale=max(settings.local_crop_scale, _SMALLEST_CROP),
        )
        _check_size(encoder, self.local_view_maker.size)
        self.student = copy.deepcopy(encoder)
        self.student_head = Head(feature_dim(encoder), settings)
        self.teacher_head = copy.deepcopy(self.student_head)
        self.encoder.requires_grad_(False)
        self.teacher_head.requires_grad_(False)
        self.center = nn.Buffer(torch.zeros(settings.prototypes))

    def make_views(self, batch: ImageBatch) -> TwoSizes:
        """Large views (images, views, 3, size, size), and small ones (images, local_views, 3, local, local)."""
        return super().make_views(batch), self.local_view_maker(batch.images, batch.image_sizes)

    def forward(self, views: TwoSizes, batch: ImageBatch, step: int) -> tuple[Tensor, Metrics]:
        student = torch.cat([_logits(self.student, self.student_head, each) for each in views], 1)
        with torch.no_grad():
            teacher = _logits(self.encoder, self.teacher_head, views[0]).float()
            targets = ((teacher - self.center) / self.settings.teacher_temperature).softmax(-1)
            self.center.lerp_(_mean_of_all_processes(teacher), 1 - self.settings.center_momentum)
        with full_precision(student.device):
            loss = dino_loss(student.float(), targets, self.settings.student_temperature)
        entropy = torch.special.entr(targets).sum(-1).mean() / math.log(targets.shape[-1])
        return loss, {"teacher_entropy": entropy}

    def after_step(self, step: int, steps: int) -> None:
        momentum = self.settings.teacher_momentum
        update_average(self.encoder, self.student, momentum, step, steps)
        update_average(self.teacher_head, self.student_head, momentum, step, steps)


class Head(nn.Module):
    """Three linear layers, normalization, and the cosine similarity with prototypes of unit length."""

    def __init__(self, features: int, settings: DINO.Settings) -> None:
        super().__init__()
        hidden, dim = settings.projection_hidden, settings.projection_dim
        self.mlp = nn.Sequential(
            nn.Linear(features, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, dim)
        )
        self.prototypes = nn.Linear(dim, settings.prototypes, bias=False)
        for layer in (*self.mlp[::2], self.prototypes):
            nn.init.trunc_normal_(layer.weight, std=0.02)

    def forward(self, features: Tensor) -> Tensor:
        return F.linear(F.normalize(self.mlp(features), dim=-1), F.normalize(self.prototypes.weight, dim=-1))


def dino_loss(student: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """Cross-entropy -sum_p targets_g log softmax(student_v / temperature), mean over images and pairs of a large view g
    and any other view v.

    student: logits (images, large + small views, prototypes), large ones first. targets: (images, large views,
    prototypes), probabilities of the teacher.
    """
    log_p = F.log_softmax(student / temperature, dim=-1)
    entropies = -(targets @ log_p.transpose(1, 2))  # (images, large, large + small)
    large, views = entropies.shape[1:]
    others = entropies.sum((1, 2)) - entropies.diagonal(dim1=1, dim2=2).sum(1)
    return others.mean() / (large * (views - 1))


def _logits(encoder: nn.Module, head: nn.Module, views: Tensor) -> Tensor:
    return per_view(lambda flat: head(encoder(flat)), views)


def _mean_of_all_processes(logits: Tensor) -> Tensor:
    """The mean logits (prototypes,) over the views of all processes, which have equally many."""
    mean = logits.flatten(0, 1).mean(0)
    if dist.is_initialized():
        dist.all_reduce(mean)
        mean /= dist.get_world_size()
    return mean


def _check_size(encoder: nn.Module, size: int) -> None:
    """Raise UserError if the encoder does not take images of this size."""
    device = next(encoder.parameters()).device
    try:
        with eval_mode(encoder):
            encoder(torch.zeros(1, 3, size, size, device=device))
    except (AssertionError, RuntimeError, ValueError) as error:
        raise UserError(
            f"the model does not take small views of {size} px ({str(error).splitlines()[0]}): use --local-size 1, "
            "or a convolutional model"
        ) from error
