"""SupCon from embeddings and labels to the loss and its gradient: as `gravis.compute`, and as one op."""

from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import _resolve_process_group

from gravis_kernels.distributed import Exchange
from gravis_kernels.gravis.autograd import Loss, keep_gradient, scale_gradient
from gravis_kernels.gravis.compute import Backend, append, normalized, precision_of, prepare


@torch.no_grad()
def compute(
    embeddings: Tensor,
    labels: Tensor,
    extra_negatives: Tensor | None,
    temperature: float,
    process_group: dist.ProcessGroup | None,
    normalize: bool,
    backend: Backend,
    product_dtype: torch.dtype,
    need_gradient: bool,
) -> tuple[Tensor, Tensor]:
    """The loss, and its gradient in the precision it was computed in; an empty tensor if not needed."""
    with torch.autocast(embeddings.device.type, enabled=False):
        rows = embeddings.detach().to(precision_of(embeddings))
        exchange = None
        if process_group is not None:
            exchange = Exchange(rows, 1, need_gradient, process_group, least_views=1)
        scales = None
        if normalize:
            rows, scales = normalized(rows)
        columns = rows if exchange is None else exchange.gather(rows)
        if exchange is not None:
            labels = exchange.gather(labels[:, None])[:, 0]
        if extra_negatives is not None:
            columns = append(columns, extra_negatives, normalize)
        loss_and_gradient, columns = prepare(backend, columns, product_dtype, "supcon")
        loss, gradient = loss_and_gradient(
            columns,
            0 if exchange is None else exchange.start,
            len(rows),
            labels,
            temperature,
            need_gradient if exchange is None else exchange.need_gradient,
            unit_rows=normalize,
            gather=None if exchange is None else exchange.gather,
        )
        if process_group is not None:
            dist.all_reduce(loss, group=process_group)
        if gradient is None or not need_gradient:
            return loss, embeddings.new_empty(0)
        if scales is not None:
            along = (rows * gradient).sum(1, keepdim=True)
            gradient = gradient.addcmul(rows, along, value=-1).mul_(scales)
        return loss, gradient


class SupCon(Loss):
    """`compute`, differentiable once, backwards."""

    @staticmethod
    def forward(embeddings: Tensor, *arguments: Any) -> tuple[Tensor, Tensor]:
        return compute(embeddings, *arguments)


@torch.library.custom_op("gravis_kernels::supcon_loss", mutates_args=())
def supcon_op(
    embeddings: Tensor,
    labels: Tensor,
    extra_negatives: Tensor | None,
    temperature: float,
    group_name: str,
    normalize: bool,
    backend: str,
    product_dtype: torch.dtype,
    need_gradient: bool,
) -> tuple[Tensor, Tensor]:
    """`supcon_loss` as one op for torch.compile: the loss, and its gradient or an empty tensor."""
    group = _resolve_process_group(group_name) if group_name else None  # type: ignore[arg-type]
    more = (group, normalize, cast(Backend, backend), product_dtype, need_gradient)
    return compute(embeddings, labels, extra_negatives, temperature, *more)


@supcon_op.register_fake
def _(embeddings: Tensor, *arguments: Any) -> tuple[Tensor, Tensor]:
    precision, need_gradient = precision_of(embeddings), arguments[-1]
    loss = embeddings.new_empty((), dtype=precision)
    if not need_gradient:
        return loss, embeddings.new_empty(0)
    return loss, embeddings.new_empty(embeddings.shape, dtype=precision)


supcon_op.register_autograd(scale_gradient, setup_context=keep_gradient)
