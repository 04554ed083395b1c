"""The losses as `torch.nn.Module`s."""

from typing import Any

import torch.distributed as dist
from torch import Tensor, nn

from gravis_kernels.clip.op import clip_loss
from gravis_kernels.gravis.op import grouping_loss
from gravis_kernels.nt_xent.op import nt_xent_loss
from gravis_kernels.settings import DEFAULTS, complete_settings
from gravis_kernels.siglip.op import siglip_loss
from gravis_kernels.supcon.op import DEFAULT_TEMPERATURE, supcon_loss


class GravisLoss(nn.Module):
    """`gravis_kernels.gravis_loss` as a module; settings: keyword arguments of `complete_settings`."""

    def __init__(self, *, process_group: dist.ProcessGroup | None = None, **settings: Any) -> None:
        super().__init__()
        self.process_group, self.settings = process_group, complete_settings(**settings)

    def forward(self, embeddings: Tensor, extra_negatives: Tensor | None = None) -> Tensor:
        """embeddings: (sources, views, dim); extra_negatives: (any number, dim)."""
        return grouping_loss(
            embeddings,
            self.settings,
            extra_negatives=extra_negatives,
            process_group=self.process_group,
        )


class NTXentLoss(nn.Module):
    """`gravis_kernels.nt_xent_loss` as a module.

    Pass an `nn.Parameter` as temperature to learn it.
    """

    def __init__(
        self,
        temperature: Tensor | float = DEFAULTS.temperature,
        *,
        process_group: dist.ProcessGroup | None = None,
    ) -> None:
        super().__init__()
        self.temperature, self.process_group = temperature, process_group

    def forward(self, embeddings: Tensor, extra_negatives: Tensor | None = None) -> Tensor:
        """See `GravisLoss.forward`."""
        return nt_xent_loss(
            embeddings,
            temperature=self.temperature,
            extra_negatives=extra_negatives,
            process_group=self.process_group,
        )


class SupConLoss(nn.Module):
    """`gravis_kernels.supcon_loss`, called like pytorch-metric-learning's `SupConLoss`: `loss(embeddings, labels)`.

    Pass an `nn.Parameter` as temperature to learn it.
    """

    def __init__(
        self,
        temperature: Tensor | float = DEFAULT_TEMPERATURE,
        *,
        process_group: dist.ProcessGroup | None = None,
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


class ClipLoss(nn.Module):
    """`gravis_kernels.clip_loss`, called like open_clip's `ClipLoss`."""

    def __init__(self, *, process_group: dist.ProcessGroup | None = None) -> None:
        super().__init__()
        self.process_group = process_group

    def forward(
        self,
        image_features: Tensor,
        text_features: Tensor,
        logit_scale: Tensor | float,
        logit_bias: Tensor | float | None = None,
        output_dict: bool = False,
    ) -> Tensor | dict[str, Tensor]:
        """image_features, text_features: (pairs, dim), normalized. logit_bias: ignored, as softmax is invariant to it.

        output_dict: return {"contrastive_loss": loss} instead of the loss.
        """
        loss = clip_loss(
            image_features, text_features, logit_scale=logit_scale, process_group=self.process_group
        )
        return {"contrastive_loss": loss} if output_dict else loss


class SigLipLoss(nn.Module):
    """`gravis_kernels.siglip_loss`, called like open_clip's `SigLipLoss`."""

    def __init__(self, *, process_group: dist.ProcessGroup | None = None) -> None:
        super().__init__()
        self.process_group = process_group

    def forward(
        self,
        image_features: Tensor,
        text_features: Tensor,
        logit_scale: Tensor | float,
        logit_bias: Tensor | float,
        output_dict: bool = False,
    ) -> Tensor | dict[str, Tensor]:
        """See `ClipLoss.forward`; here logit_bias is used."""
        loss = siglip_loss(
            image_features,
            text_features,
            logit_scale=logit_scale,
            logit_bias=logit_bias,
            process_group=self.process_group,
        )
        return {"contrastive_loss": loss} if output_dict else loss
