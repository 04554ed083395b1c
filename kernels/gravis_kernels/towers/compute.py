"""Compute two-tower losses (image and text) and their gradients from pairs of embeddings; also as a custom op.

The image tower is multiplied by the logit scale first, so that the scale gets its exact gradient from autograd.
"""

from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import _resolve_process_group

from gravis_kernels.distributed import Exchange, value_of
from gravis_kernels.gravis.autograd import Loss, _ScaledGradient
from gravis_kernels.gravis.compute import Backend, precision_of, prepare, product_dtype
from gravis_kernels.settings import check_number
from gravis_kernels.validation import check_backend, check_member, check_towers


def towers_loss(
    family: str,
    image: Tensor,
    text: Tensor,
    logit_scale: Tensor | float,
    logit_bias: Tensor | float,
    process_group: dist.ProcessGroup | None,
    backend: Backend,
) -> Tensor:
    """The loss of a family ("clip" or "siglip"); the public functions only wrap this."""
    check_backend(backend)
    check_member(process_group)
    check_towers(image, text, alone=process_group is None)
    dtype = precision_of(image)
    scale = _number("logit_scale", logit_scale, image.device, dtype)
    bias = _number("logit_bias", logit_bias, image.device, dtype)
    pairs = torch.stack([image.to(dtype) * scale, text.to(dtype)], dim=1)
    need_gradient = torch.is_grad_enabled() and (pairs.requires_grad or bias.requires_grad)
    numbers = (
        f"logit_scale {value_of(logit_scale, process_group)}, bias {value_of(logit_bias, process_group)}"
    )
    more = (backend, product_dtype(image), f"{family}, {numbers}", need_gradient)
    if not torch.compiler.is_compiling():
        eager: Tensor = TowersLoss.apply(pairs, bias, family, process_group, *more)[0]
        return eager
    group_name = "" if process_group is None else process_group.group_name
    compiled: Tensor = towers_op(pairs, bias, family, group_name, *more)[0]
    return compiled


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


class TowersLoss(Loss):
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
