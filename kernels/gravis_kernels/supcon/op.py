"""`supcon_loss`: the public function and its checks."""

import torch
import torch.distributed as dist
from torch import Tensor

from gravis_kernels.distributed import value_of
from gravis_kernels.gravis.compute import Backend, product_dtype
from gravis_kernels.learned_temperature import absorb
from gravis_kernels.supcon.compute import SupCon, supcon_op
from gravis_kernels.validation import check_backend, check_labeled, check_member

DEFAULT_TEMPERATURE = 0.1


def supcon_loss(
    embeddings: Tensor,
    labels: Tensor,
    *,
    extra_negatives: Tensor | None = None,
    temperature: Tensor | float = DEFAULT_TEMPERATURE,
    normalize: bool = True,
    process_group: dist.ProcessGroup | None = None,
    backend: Backend = "auto",
) -> Tensor:
    """Supervised contrastive loss: all rows with the same label are positives of each other.

    With z the L2-normalized embeddings, t the temperature and P(i) the other rows with the label of row i,

        l_i = -mean over j in P(i) of log(exp(<z_i, z_j> / t) / sum over n != i of exp(<z_i, z_n> / t))

    and the loss is the mean over all rows i with a positive (L_out in the paper, `SupConLoss` in
    pytorch-metric-learning). A row without positives has no l_i, but is a negative of the others; without any
    positives the loss is 0.

    Args:
        embeddings: (rows, dim), float32, bfloat16, float16 or float64; at least 2 rows.
        labels: (rows,), integers, on the same device as the embeddings.
        extra_negatives: (any number, dim), a queue or memory bank: additional negatives of every row, without gradient
            or label. With a process group they must be the same on every process.
        temperature: above 0; to learn it, see `gravis_kernels.nt_xent_loss`.
        normalize: L2-normalize embeddings and extra negatives first.
        process_group: compute the loss over the rows of all processes (their number may differ); see
            `gravis_kernels.gravis_loss` for the gradient.
        backend: see `gravis_kernels.gravis_loss`.

    Returns:
        A scalar in float32 (float64 for float64 embeddings).

    Raises:
        ValueError: a shape, dtype or value is invalid.
        RuntimeError: see `gravis_kernels.gravis_loss`.

    Source: Khosla et al., "Supervised Contrastive Learning", NeurIPS 2020.
    """
    check_backend(backend)
    check_member(process_group)
    check_labeled(embeddings, labels, extra_negatives, alone=process_group is None)
    products = product_dtype(embeddings)
    embeddings, constant, normalize = absorb(embeddings, temperature, normalize, extra_negatives)
    need_gradient = torch.is_grad_enabled() and embeddings.requires_grad
    if extra_negatives is not None:
        extra_negatives = extra_negatives.detach()
    more = (normalize, backend, products, value_of(temperature, process_group), need_gradient)
    if not torch.compiler.is_compiling():
        eager: Tensor = SupCon.apply(embeddings, labels, extra_negatives, constant, process_group, *more)[0]
        return eager
    group_name = "" if process_group is None else process_group.group_name
    compiled: Tensor = supcon_op(embeddings, labels, extra_negatives, constant, group_name, *more)[0]
    return compiled
