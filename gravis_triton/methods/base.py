"""What every self-supervised method is: views of a batch of images, and a loss of the views."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, ClassVar, TypeAlias

import torch
from pydantic import Field
from torch import Tensor, nn

from gravis_triton.data.loading.loader import ImageBatch
from gravis_triton.views import ViewMaker

Metrics: TypeAlias = dict[str, Tensor]

Width = Annotated[int, Field(ge=1, le=65_536)]
Positive = Annotated[float, Field(gt=0)]


@dataclass(frozen=True, kw_only=True)
class NoSettings:
    """The method has no settings of its own."""


class Method(nn.Module):
    """A self-supervised method; see docs/methods.md for how to write one.

    Everything that a method learns or averages is a parameter, a buffer or a submodule of it: Accelerate prepares the
    method as a whole, checkpoints contain it, and a run resumes from them exactly.

    encoder: the timm backbone, from images (batch, 3, size, size) to features (batch, encoder.head_hidden_size); it is
        evaluated during training and exported at the end. A method with a teacher may replace it by the teacher's.
    view_maker: makes the augmented views of `--views` and the augmentation's flags.
    settings: an instance of the class's `Settings`, whose fields are flags of `gravis pretrain`.
    """

    Settings: ClassVar[type[Any]] = NoSettings

    attention_temperature: float | None = None
    """Of the softmax attention that the report shows; None for uniform attention."""

    def __init__(self, encoder: nn.Module, view_maker: ViewMaker, settings: Any) -> None:
        super().__init__()
        self.encoder, self.view_maker, self.settings = encoder, view_maker, self.complete(settings)

    @classmethod
    def complete(cls, settings: Any) -> Any:
        """The settings with defaults that depend on other settings filled in, as config.yaml saves them. Raises
        UserError for conflicting settings."""
        return settings

    def make_views(self, batch: ImageBatch) -> Any:
        """Views (images, views, 3, size, size) of a batch on its device. Called outside of autocast."""
        return self.view_maker(batch.images, batch.image_sizes)

    def forward(self, views: Any, batch: ImageBatch, step: int) -> tuple[Tensor, Metrics]:
        """The loss to minimize, and metrics: scalars on the device, averaged over the steps between two log lines.

        views: what `make_views` returned. step: number of optimizer steps so far. With several processes, each gets its
        own images; gradients are averaged over the processes.
        """
        raise NotImplementedError

    def after_step(self, step: int, steps: int) -> None:
        """Called after optimizer step `step` of `steps`, e.g. to update a moving average."""

    def embed(self, views: Tensor) -> Tensor:
        """Vectors (images, views, dim) whose cosine similarities the report shows; by default the features."""
        return per_view(self.encoder, views)

    def no_weight_decay(self) -> set[str]:
        """Parameters excluded from weight decay besides vectors, as timm's optimizers query them."""
        return {
            f"{name}.{parameter}"
            for name, module in self.named_children()
            for parameter in getattr(module, "no_weight_decay", set)()
        }


def per_view(function: Callable[[Tensor], Tensor], views: Tensor) -> Tensor:
    """A function of a batch, applied to views or vectors (images, views, ...); the result is (images, views, ...)."""
    return function(views.flatten(0, 1)).unflatten(0, views.shape[:2])


def mlp(*widths: int, batch_norm: bool = True) -> nn.Sequential:
    """Linear layers of these widths, with BatchNorm (optional) and ReLU between them."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths[:-1]):
        layers += [nn.Linear(inputs, outputs, bias=not batch_norm)]
        layers += [nn.BatchNorm1d(outputs)] if batch_norm else []
        layers += [nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))


def full_precision(device: torch.device) -> AbstractContextManager[Any]:
    """Without autocast, for losses: `with full_precision(z.device): loss = f(z.float())`."""
    return torch.autocast(device.type, enabled=False)


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, start: float, step: int, steps: int) -> None:
    """average = momentum * average + (1 - momentum) * model, parameter by parameter; buffers are left alone.

    The momentum rises from `start` at step 0 to 1 at the last step, along half a cosine.
    """
    momentum = 1 - (1 - start) * (math.cos(math.pi * step / steps) + 1) / 2
    for ours, theirs in zip(average.parameters(), model.parameters(), strict=True):
        ours.lerp_(theirs, 1 - momentum)
