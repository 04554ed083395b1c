"""The loss for autograd and, as a custom op, for torch.compile: forward computes the gradient, backward scales it."""

from typing import Any, NoReturn, cast

import torch
from torch import Tensor
from torch.distributed.distributed_c10d import _resolve_process_group

from gravis_kernels.gravis.compute import Backend, compute, precision_of
from gravis_kernels.settings import Attention, GravisSettings, Negatives, Penalty


class FirstOrder(torch.autograd.Function):
    """First derivatives only, of one batch."""

    @staticmethod
    def jvp(ctx: Any, *_: Any) -> NoReturn:
        raise RuntimeError("the loss has no forward-mode derivative: use backward()")

    @staticmethod
    def vmap(*_: Any) -> NoReturn:
        raise RuntimeError("the loss does not support vmap: call it once per batch")


class Loss(FirstOrder):
    """`compute` with a backward pass."""

    @staticmethod
    def forward(embeddings: Tensor, *arguments: Any) -> tuple[Tensor, Tensor]:
        return compute(embeddings, *arguments)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(inputs[0], output[1])
        ctx.constants = len(inputs) - 1

    @staticmethod
    def backward(ctx: Any, grad_loss: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        return _ScaledGradient.apply(*ctx.saved_tensors, grad_loss), *[None] * ctx.constants


class _ScaledGradient(torch.autograd.Function):
    """The gradient for the embeddings. It has no derivative: asking for one is an error instead of zero."""

    @staticmethod
    def forward(embeddings: Tensor, gradient: Tensor, grad_loss: Tensor) -> Tensor:
        return (gradient * grad_loss).to(embeddings.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, _: Tensor) -> NoReturn:
        raise RuntimeError(
            "the loss has no second derivative (gradient penalty, Hessian); for small batches "
            "gravis_kernels.gravis.reference.anchor_losses has higher derivatives"
        )

    @staticmethod
    def jvp(ctx: Any, *_: Any) -> NoReturn:
        raise RuntimeError("the loss has no second derivative (Hessian)")


@torch.library.custom_op("gravis_kernels::gravis_loss", mutates_args=())
def loss_op(
    embeddings: Tensor,
    extra_negatives: Tensor | None,
    margin: float,
    attention: str,
    attention_temperature: float,
    negatives: str,
    penalty: str,
    temperature: float,
    detach_attention: bool,
    group_name: str,
    normalize: bool,
    backend: str,
    product_dtype: torch.dtype,
    learned: float,
    need_gradient: bool,
) -> tuple[Tensor, Tensor]:
    """`gravis_loss` as a custom op for torch.compile: the loss, and its gradient or an empty tensor."""
    # op schemas only support plain strings
    settings = GravisSettings(
        margin,
        cast(Attention, attention),
        attention_temperature,
        cast(Negatives, negatives),
        cast(Penalty, penalty),
        temperature,
        detach_attention,
    )
    group = _resolve_process_group(group_name) if group_name else None  # type: ignore[arg-type]
    more = (group, normalize, cast(Backend, backend), product_dtype, learned, need_gradient)
    return compute(embeddings, extra_negatives, settings, *more)


def empty_results(embeddings: Tensor, *arguments: Any) -> tuple[Tensor, Tensor]:
    """Loss and gradient without values; the last argument: whether the gradient is needed."""
    precision = precision_of(embeddings)
    shape = embeddings.shape if arguments[-1] else (0,)
    return embeddings.new_empty((), dtype=precision), embeddings.new_empty(shape, dtype=precision)


loss_op.register_fake(empty_results)
loss_op.register_autograd(Loss.backward, setup_context=Loss.setup_context)
