"""Compute SupCon and its gradient from embeddings and labels, like `gravis.compute`; also as a custom op."""

from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import _resolve_process_group

from gravis_kernels.batch import finish, gather_batch
from gravis_kernels.gravis.autograd import Loss, empty_results
from gravis_kernels.gravis.compute import Backend, precision_of, prepare


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
    learned: float,
    need_gradient: bool,
) -> tuple[Tensor, Tensor]:
    """The loss, and its gradient in the dtype of the computation; an empty tensor if not needed."""
    with torch.autocast(embeddings.device.type, enabled=False):
        rows = embeddings.detach().to(precision_of(embeddings))
        settings = f"SupCon, temperature {temperature}, learned {learned}"
        batch = gather_batch(rows, 1, extra_negatives, normalize, need_gradient, process_group, settings, least_views=1)
        if batch.gather is not None:
            labels = batch.gather(labels.long()[:, None])[:, 0]
        loss_and_gradient, columns = prepare(backend, batch.columns, product_dtype, "supcon")
        loss, gradient = loss_and_gradient(
            columns,
            batch.start,
            len(rows),
            labels,
            temperature,
            batch.need_gradient,
            unit_rows=normalize,
            gather=batch.gather,
        )
        return finish(batch, loss, gradient, process_group)


class SupCon(Loss):
    """`compute` with a backward pass; first derivatives only."""

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
    learned: float,
    need_gradient: bool,
) -> tuple[Tensor, Tensor]:
    """`supcon_loss` as a custom op for torch.compile: the loss, and its gradient or an empty tensor."""
    group = _resolve_process_group(group_name) if group_name else None  # type: ignore[arg-type]
    more = (group, normalize, cast(Backend, backend), product_dtype, learned, need_gradient)
    return compute(embeddings, labels, extra_negatives, temperature, *more)


supcon_op.register_fake(empty_results)
supcon_op.register_autograd(SupCon.backward, setup_context=SupCon.setup_context)
