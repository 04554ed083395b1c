"""Compute two-tower losses (image and text) and their gradients from pairs of embeddings; also as a custom op.

The image tower is multiplied by the logit scale first, so that the scale gets its exact gradient from autograd.
"""

import warnings
from itertools import count
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import _resolve_process_group

from gravis_kernels.anchors import in_blocks, reduce
from gravis_kernels.distributed import Exchange, GatherWithGradient, scale_gradient, value_of
from gravis_kernels.gravis.autograd import FirstOrder, _ScaledGradient
from gravis_kernels.gravis.compute import Backend, precision_of, prepare, product_dtype
from gravis_kernels.settings import check_number
from gravis_kernels.towers.reference import PairLosses
from gravis_kernels.validation import Reduction, check_backend, check_member, check_reduction, check_towers

CHECK_EVERY = 1000  # calls between two checks that rows are normalized
_calls = count()


def towers_loss(
    family: str,
    pair_losses: PairLosses,
    image_features: Tensor,
    text_features: Tensor,
    logit_scale: Tensor | float,
    logit_bias: Tensor | float,
    weight: Tensor | None,
    reduction: Reduction,
    process_group: dist.ProcessGroup | None,
    ddp_scale: bool,
    backend: Backend,
) -> Tensor:
    """The loss of a family ("clip" or "siglip"); the public functions only wrap this."""
    check_backend(backend)
    check_member(process_group)
    check_towers(image_features, text_features, alone=process_group is None)
    plain = weight is None and reduction == "mean"
    check_reduction(reduction, weight, image_features.shape[:1], image_features.device, plain, backend)
    if not torch.compiler.is_compiling() and next(_calls) % CHECK_EVERY == 0:
        _check_lengths(image_features, text_features)
    dtype = precision_of(image_features)
    scale = _number("logit_scale", logit_scale, image_features.device, dtype)
    bias = _number("logit_bias", logit_bias, image_features.device, dtype)
    pairs = torch.stack([image_features.to(dtype) * scale, text_features.to(dtype)], dim=1)
    numbers = f"logit_scale {value_of(logit_scale, process_group)}, bias {value_of(logit_bias, process_group)}"
    loss = (
        _fused(family, pairs, bias, f"{family}, {numbers}", process_group, product_dtype(image_features), backend)
        if plain
        else _by_pair(pair_losses, pairs, bias, f"{family}, {numbers}, {reduction}", weight, reduction, process_group)
    )
    return scale_gradient(loss, process_group) if ddp_scale else loss


def _check_lengths(*towers: Tensor) -> None:
    """Warn about rows that are not normalized. Reading the lengths synchronizes with a GPU."""
    lengths = torch.cat([torch.linalg.vector_norm(tower.detach().float(), dim=1) for tower in towers])
    if ((lengths - 1).abs() > 0.1).any():
        warnings.warn(
            "image_features and text_features should have length 1, but are from "
            f"{lengths.min():.3g} to {lengths.max():.3g} long: normalize them first",
            stacklevel=4,
        )


def _fused(
    family: str,
    pairs: Tensor,
    bias: Tensor,
    settings: str,
    process_group: dist.ProcessGroup | None,
    products: torch.dtype,
    backend: Backend,
) -> Tensor:
    need_gradient = torch.is_grad_enabled() and (pairs.requires_grad or bias.requires_grad)
    more = (backend, products, settings, need_gradient)
    if not torch.compiler.is_compiling():
        eager: Tensor = TowersLoss.apply(pairs, bias, family, process_group, *more)[0]
        return eager
    group_name = "" if process_group is None else process_group.group_name
    compiled: Tensor = towers_op(pairs, bias, family, group_name, *more)[0]
    return compiled


def _by_pair(
    pair_losses: PairLosses,
    pairs: Tensor,
    bias: Tensor,
    settings: str,
    weight: Tensor | None,
    reduction: Reduction,
    process_group: dist.ProcessGroup | None,
) -> Tensor:
    with torch.autocast(pairs.device.type, enabled=False):
        columns, start = pairs, 0
        if process_group is not None:
            gradient = torch.is_grad_enabled() and (pairs.requires_grad or bias.requires_grad)
            exchange = Exchange(pairs.flatten(1), 1, gradient, process_group, f"{settings}, {gradient}", least_views=1)
            columns = GatherWithGradient.apply(pairs.flatten(1), exchange).unflatten(1, (2, -1))
            start = exchange.start
        match = torch.arange(start, start + len(pairs), device=pairs.device)

        def of_block(block: slice) -> Tensor:
            of_images = pairs[block, 0] @ columns[:, 1].T + bias
            return pair_losses(of_images, pairs[block, 1] @ columns[:, 0].T + bias, match[block])

        losses = in_blocks(of_block, len(pairs), 2 * len(columns))
        return reduce(losses, torch.ones_like(losses), weight, reduction, process_group, losses.shape)


def _number(name: str, value: Tensor | float, device: torch.device, dtype: torch.dtype) -> Tensor:
    if not isinstance(value, Tensor):
        value = check_number(name, value)
        return torch.full((), value, device=device, dtype=dtype)  # unlike a copy, does not sync with the GPU
    if value.numel() != 1:
        raise ValueError(f"{name} must be one number, got shape {tuple(value.shape)}")
    return value.to(device, dtype).reshape(())


@torch.no_grad()
def compute(
    pairs: Tensor,
    bias: Tensor,
    family: str,
    process_group: dist.ProcessGroup | None,
    backend: Backend,
    product_dtype: torch.dtype,
    settings: str,
    need_gradient: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """The loss and its gradients for pairs (own pairs, 2, dim) and bias; empty tensors if not needed.

    settings: a text of all that must be the same on all processes.
    """
    with torch.autocast(pairs.device.type, enabled=False):
        rows = pairs.detach().flatten(1)
        exchange = None
        if process_group is not None:
            exchange = Exchange(rows, 1, need_gradient, process_group, settings, least_views=1)
        columns = rows if exchange is None else exchange.gather(rows)
        loss_and_gradients, columns = prepare(backend, columns, product_dtype, family)
        loss, gradients = loss_and_gradients(
            columns.unflatten(1, (2, -1)),
            bias.detach(),
            0 if exchange is None else exchange.start,
            len(rows),
            need_gradient if exchange is None else exchange.need_gradient,
            gather=None if exchange is None else exchange.gather,
        )
        if process_group is not None:
            dist.all_reduce(loss, group=process_group)
        if gradients is None or not need_gradient:
            return loss, pairs.new_empty(0), pairs.new_empty(0)
        return loss, *gradients


class TowersLoss(FirstOrder):
    """`compute` with a backward pass; first derivatives only."""

    @staticmethod
    def forward(pairs: Tensor, bias: Tensor, *arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
        return compute(pairs, bias, *arguments)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(*inputs[:2], *output[1:])
        ctx.constants = len(inputs) - 2

    @staticmethod
    def backward(ctx: Any, grad_loss: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        pairs, bias, *gradients = ctx.saved_tensors
        scaled = (
            _ScaledGradient.apply(given, gradient, grad_loss)
            for given, gradient in zip((pairs, bias), gradients, strict=True)
        )
        return *scaled, *[None] * ctx.constants


@torch.library.custom_op("gravis_kernels::towers_loss", mutates_args=())
def towers_op(
    pairs: Tensor,
    bias: Tensor,
    family: str,
    group_name: str,
    backend: str,
    product_dtype: torch.dtype,
    settings: str,
    need_gradient: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """`towers_loss` as a custom op for torch.compile: the loss, and its gradients or empty tensors."""
    group = _resolve_process_group(group_name) if group_name else None  # type: ignore[arg-type]
    return compute(pairs, bias, family, group, cast(Backend, backend), product_dtype, settings, need_gradient)


@towers_op.register_fake
def _(pairs: Tensor, bias: Tensor, *settings: Any) -> tuple[Tensor, Tensor, Tensor]:
    if not settings[-1]:
        return torch.empty_like(bias), pairs.new_empty(0), pairs.new_empty(0)
    return torch.empty_like(bias), torch.empty_like(pairs), torch.empty_like(bias)


towers_op.register_autograd(TowersLoss.backward, setup_context=TowersLoss.setup_context)
