"""The losses as `torch.nn.Module`s, called like those of the libraries that they replace."""

from dataclasses import asdict, replace
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from gravis_kernels.clip.op import clip_loss
from gravis_kernels.gravis.compute import Backend
from gravis_kernels.gravis.op import grouping_loss
from gravis_kernels.learned_temperature import LearnedTemperature
from gravis_kernels.nt_xent.op import nt_xent_loss
from gravis_kernels.settings import DEFAULTS, Attention, Negatives, Penalty, complete_settings
from gravis_kernels.siglip.op import siglip_loss
from gravis_kernels.supcon.op import DEFAULT_TEMPERATURE, supcon_loss
from gravis_kernels.validation import Reduction, check_tensor

# a number, an `nn.Parameter` that is the temperature, or a `LearnedTemperature`
Temperature = float | Tensor | LearnedTemperature


class _Loss(nn.Module):
    """Keeps the keyword arguments of a function, and shows those that are given."""

    def __init__(
        self,
        temperature: Temperature | None = None,
        *,
        normalize: bool = True,
        reduction: Reduction = "mean",
        process_group: dist.ProcessGroup | None = None,
        ddp_scale: bool = False,
        backend: Backend = "auto",
    ) -> None:
        super().__init__()
        self.temperature = temperature
        self.arguments: dict[str, Any] = {
            "normalize": normalize,
            "reduction": reduction,
            "process_group": process_group,
            "ddp_scale": ddp_scale,
            "backend": backend,
        }

    def _temperature(self, default: float) -> float | Tensor:
        if self.temperature is None:
            return default
        return cast(float | Tensor, self.temperature() if callable(self.temperature) else self.temperature)

    def extra_repr(self) -> str:
        shown = self.arguments if callable(self.temperature) else {"temperature": self.temperature, **self.arguments}
        return ", ".join(f"{name}={value!r}" for name, value in shown.items() if value is not None)


class GravisLoss(_Loss):
    """`gravis_kernels.gravis_loss` as a module."""

    def __init__(
        self,
        *,
        margin: float | None = None,
        attention: Attention = DEFAULTS.attention,
        attention_temperature: float = DEFAULTS.attention_temperature,
        negatives: Negatives | None = None,
        penalty: Penalty | None = None,
        temperature: Temperature = DEFAULTS.temperature,
        detach_attention: bool = False,
        normalize: bool = True,
        reduction: Reduction = "mean",
        process_group: dist.ProcessGroup | None = None,
        ddp_scale: bool = False,
        backend: Backend = "auto",
    ) -> None:
        super().__init__(
            temperature,
            normalize=normalize,
            reduction=reduction,
            process_group=process_group,
            ddp_scale=ddp_scale,
            backend=backend,
        )
        self.settings = complete_settings(
            margin=margin,
            attention=attention,
            attention_temperature=attention_temperature,
            negatives=negatives,
            penalty=penalty,
            temperature=1.0 if isinstance(temperature, nn.Module | nn.Parameter) else temperature,
            detach_attention=detach_attention,
        )

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor | None = None,
        *,
        extra_negatives: Tensor | None = None,
        weight: Tensor | None = None,
    ) -> Tensor:
        """embeddings: (sources, views, dim), or (rows, dim) with labels (rows,); see `gravis_kernels.gravis_loss`."""
        temperature = cast(float, self._temperature(DEFAULTS.temperature))
        return grouping_loss(
            embeddings,
            replace(self.settings, temperature=temperature),
            labels,
            extra_negatives=extra_negatives,
            weight=weight,
            **self.arguments,
        )

    def extra_repr(self) -> str:
        settings = asdict(self.settings) | {"temperature": None}
        shown = [f"{name}={value!r}" for name, value in settings.items() if value is not None]
        return ", ".join([*shown, super().extra_repr()])


class MultiViewNTXentLoss(_Loss):
    """`gravis_kernels.nt_xent_loss` of several views, or of queries and keys, as a module; default temperature 0.2."""

    def forward(
        self,
        embeddings: Tensor,
        *,
        keys: Tensor | None = None,
        queue: Tensor | None = None,
        extra_negatives: Tensor | None = None,
        weight: Tensor | None = None,
    ) -> Tensor:
        """embeddings: (sources, views, dim), or queries (rows, dim) with keys; see `gravis_kernels.nt_xent_loss`."""
        return nt_xent_loss(
            embeddings,
            keys=keys,
            queue=queue,
            temperature=self._temperature(DEFAULTS.temperature),
            extra_negatives=extra_negatives,
            weight=weight,
            **self.arguments,
        )


class NTXentLoss(_Loss):
    """`gravis_kernels.nt_xent_loss`, called like pytorch-metric-learning's `loss(embeddings, labels)` or like
    lightly's `loss(out0, out1)`, each with its library's default temperature, 0.07 and 0.5.
    """

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor,
        indices_tuple: None = None,
        ref_emb: Tensor | None = None,
        ref_labels: Tensor | None = None,
        *,
        extra_negatives: Tensor | None = None,
        weight: Tensor | None = None,
    ) -> Tensor:
        """embeddings: (rows, dim). labels: (rows,), or second views (rows, dim). ref_emb, ref_labels: references."""
        check_tensor("labels", labels)
        more = {"extra_negatives": extra_negatives, "weight": weight, **self.arguments}
        if labels.is_floating_point():
            if any(given is not None for given in (indices_tuple, ref_emb, ref_labels)):
                raise ValueError("two views have neither pairs of a miner nor references: pass labels instead")
            if labels.shape != embeddings.shape:
                first, second = tuple(embeddings.shape), tuple(labels.shape)
                raise ValueError(f"second views must have the shape of the first, {first}, got {second}")
            views = torch.stack([embeddings, labels], dim=1)
            return nt_xent_loss(views, temperature=self._temperature(0.5), **more)
        references = _references(embeddings, labels, indices_tuple, ref_emb, ref_labels)
        labels = labels.to(embeddings.device)
        return nt_xent_loss(embeddings, labels, references=references, temperature=self._temperature(0.07), **more)


class SupConLoss(_Loss):
    """`gravis_kernels.supcon_loss`, called like pytorch-metric-learning's; default temperature 0.1."""

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor,
        indices_tuple: None = None,
        ref_emb: Tensor | None = None,
        ref_labels: Tensor | None = None,
        *,
        extra_negatives: Tensor | None = None,
        weight: Tensor | None = None,
    ) -> Tensor:
        """embeddings: (rows, dim); labels: (rows,). ref_emb, ref_labels: references."""
        check_tensor("labels", labels)
        return supcon_loss(
            embeddings,
            labels.to(embeddings.device),
            extra_negatives=extra_negatives,
            references=_references(embeddings, labels, indices_tuple, ref_emb, ref_labels),
            temperature=self._temperature(DEFAULT_TEMPERATURE),
            weight=weight,
            **self.arguments,
        )


def _references(
    embeddings: Tensor, labels: Tensor, indices_tuple: None, ref_emb: Tensor | None, ref_labels: Tensor | None
) -> tuple[Tensor, Tensor] | None:
    if indices_tuple is not None:
        raise ValueError("indices_tuple, the pairs of a miner, is not supported: every pair takes part in this loss")
    if (ref_emb is None) != (ref_labels is None):
        raise ValueError("ref_emb and ref_labels belong together: pass both or neither")
    if ref_emb is None or ref_labels is None:
        return None
    if ref_emb is embeddings or ref_labels is labels:
        raise ValueError(
            "ref_emb or ref_labels are those of the embeddings, for which pytorch-metric-learning leaves out the pairs "
            "of a row with itself: pass neither, or ref_labels.clone() to keep these pairs"
        )
    return ref_emb, ref_labels.to(embeddings.device)


class _TowersLoss(nn.Module):
    def __init__(
        self,
        world_size: int,
        reduction: Reduction,
        process_group: dist.ProcessGroup | None,
        ddp_scale: bool,
        backend: Backend,
    ) -> None:
        super().__init__()
        if world_size > 1 and process_group is None:
            if not dist.is_initialized():
                raise ValueError(f"world_size {world_size} needs torch.distributed.init_process_group before")
            process_group, ddp_scale = dist.group.WORLD, True
        self.arguments: dict[str, Any] = {
            "reduction": reduction,
            "process_group": process_group,
            "ddp_scale": ddp_scale,
            "backend": backend,
        }

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self.arguments.items() if value is not None)


class ClipLoss(_TowersLoss):
    """`gravis_kernels.clip_loss`, called like open_clip's `ClipLoss`.

    world_size > 1 stands for `process_group=torch.distributed.group.WORLD, ddp_scale=True`. The gradient is that of
    the global loss in any case, so local_loss, gather_with_grad, cache_labels and rank have no effect.
    """

    def __init__(
        self,
        local_loss: bool = False,
        gather_with_grad: bool = False,
        cache_labels: bool = False,
        rank: int = 0,
        world_size: int = 1,
        *,
        reduction: Reduction = "mean",
        process_group: dist.ProcessGroup | None = None,
        ddp_scale: bool = False,
        backend: Backend = "auto",
    ) -> None:
        super().__init__(world_size, reduction, process_group, ddp_scale, backend)

    def forward(
        self,
        image_features: Tensor,
        text_features: Tensor,
        logit_scale: Tensor | float,
        logit_bias: Tensor | float | None = None,
        output_dict: bool = False,
        *,
        weight: Tensor | None = None,
    ) -> Tensor | dict[str, Tensor]:
        """image_features, text_features: (pairs, dim), normalized. logit_bias: ignored, as softmax is invariant to it.

        output_dict: return {"contrastive_loss": loss} instead of the loss. ValueError: logit_bias is learned.
        """
        if isinstance(logit_bias, Tensor) and logit_bias.requires_grad:
            raise ValueError(
                "logit_bias requires a gradient, but does not change this loss: use SigLipLoss, or leave it out"
            )
        loss = clip_loss(image_features, text_features, logit_scale, weight=weight, **self.arguments)
        return {"contrastive_loss": loss} if output_dict else loss


class SigLipLoss(_TowersLoss):
    """`gravis_kernels.siglip_loss`, called like open_clip's `SigLipLoss`.

    world_size: see `ClipLoss`. cache_labels, rank, dist_impl and chunk_size have no effect.
    """

    def __init__(
        self,
        cache_labels: bool = False,
        rank: int = 0,
        world_size: int = 1,
        dist_impl: str | None = None,
        chunk_size: int = 0,
        *,
        reduction: Reduction = "mean",
        process_group: dist.ProcessGroup | None = None,
        ddp_scale: bool = False,
        backend: Backend = "auto",
    ) -> None:
        super().__init__(world_size, reduction, process_group, ddp_scale, backend)

    def forward(
        self,
        image_features: Tensor,
        text_features: Tensor,
        logit_scale: Tensor | float,
        logit_bias: Tensor | float,
        output_dict: bool = False,
        *,
        weight: Tensor | None = None,
    ) -> Tensor | dict[str, Tensor]:
        """See `ClipLoss.forward`; here logit_bias is used."""
        loss = siglip_loss(image_features, text_features, logit_scale, logit_bias, weight=weight, **self.arguments)
        return {"contrastive_loss": loss} if output_dict else loss
