"""The losses as `torch.nn.Module`s."""

from typing import Any

import torch.distributed as dist
from torch import Tensor, nn

from gravis_kernels.gravis.op import grouping_loss
from gravis_kernels.nt_xent.op import nt_xent_loss
from gravis_kernels.settings import DEFAULTS, complete_settings
from gravis_kernels.supcon.op import DEFAULT_TEMPERATURE, supcon_loss


class GravisLoss(nn.Module):
    """`gravis_kernels.gravis_loss` of embeddings (sources, views, dim); settings: those of `complete_settings`."""

    def __init__(self, *, process_group: dist.ProcessGroup | None = None, **settings: Any) -> None:
        super().__init__()
        self.process_group, self.settings = process_group, complete_settings(**settings)

    def forward(self, embeddings: Tensor) -> Tensor:
        return grouping_loss(embeddings, self.settings, process_group=self.process_group)


class NTXentLoss(nn.Module):
    """`gravis_kernels.nt_xent_loss` of embeddings (sources, views, dim)."""

    def __init__(
        self, temperature: float = DEFAULTS.temperature, *, process_group: dist.ProcessGroup | None = None
    ) -> None:
        super().__init__()
        self.temperature, self.process_group = temperature, process_group

    def forward(self, embeddings: Tensor) -> Tensor:
        return nt_xent_loss(embeddings, temperature=self.temperature, process_group=self.process_group)


class SupConLoss(nn.Module):
    """`gravis_kernels.supcon_loss`, called as pytorch-metric-learning's `SupConLoss`: `loss(embeddings, labels)`."""

    def __init__(
        self, temperature: float = DEFAULT_TEMPERATURE, *, process_group: dist.ProcessGroup | None = None
    ) -> None:
        super().__init__()
        self.temperature, self.process_group = temperature, process_group

    def forward(self, embeddings: Tensor, labels: Tensor, extra_negatives: Tensor | None = None) -> Tensor:
        """embeddings: (rows, dim); labels: (rows,); extra_negatives: (any number, dim)."""
        return supcon_loss(
            embeddings,
            labels,
            extra_negatives=extra_negatives,
            temperature=self.temperature,
            process_group=self.process_group,
        )
