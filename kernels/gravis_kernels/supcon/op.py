"""`supcon_loss`: the public function and its checks."""

import torch
import torch.distributed as dist
from torch import Tensor

from gravis_kernels.anchors import gather_anchors, reduce
from gravis_kernels.distributed import scale_gradient, value_of
from gravis_kernels.gravis.compute import Backend, product_dtype
from gravis_kernels.learned_temperature import absorb, is_learned, scalar
from gravis_kernels.supcon.compute import SupCon, supcon_op
from gravis_kernels.supcon.reference import losses_of
from gravis_kernels.validation import (
    Reduction,
    check_backend,
    check_extra_negatives,
    check_labeled,
    check_member,
    check_reduction,
    check_references,
)

DEFAULT_TEMPERATURE = 0.1


def supcon_loss(
    embeddings: Tensor,
    labels: Tensor,
    *,
    extra_negatives: Tensor | None = None,
    references: tuple[Tensor, Tensor] | None = None,
    temperature: Tensor | float = DEFAULT_TEMPERATURE,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
    normalize: bool = True,
    process_group: dist.ProcessGroup | None = None,
    ddp_scale: bool = False,
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
        references: rows (any number, dim) and their labels, which take the place of all other rows as positives and
            negatives; they get a gradient if they require one.
        temperature: above 0; to learn it, see `gravis_kernels.nt_xent_loss`.
        weight: one weight per row, at least 0: the loss is the weighted mean, sum of w_i l_i / sum of w_i.
        reduction: "none" returns the loss of every own row, times its weight; 0 without positives.
        normalize: L2-normalize embeddings and extra negatives first.
        process_group: compute the loss over the rows of all processes (their number may differ); see
            `gravis_kernels.gravis_loss` for the gradient.
        ddp_scale, backend: see `gravis_kernels.gravis_loss`. References, weights, reduction "none", and a learned
            temperature with extra negatives are computed by PyTorch in blocks of rows.

    Returns:
        A scalar in float32 (float64 for float64 embeddings).

    Raises:
        ValueError: a shape, dtype or value is invalid.
        RuntimeError: see `gravis_kernels.gravis_loss`.

    Source: Khosla et al., "Supervised Contrastive Learning", NeurIPS 2020.
    """
    check_backend(backend)
    check_member(process_group)
    check_labeled(embeddings, labels, alone=process_group is None and references is None)
    if extra_negatives is not None:
        check_extra_negatives(extra_negatives, embeddings)
    if references is not None:
        check_references(references, embeddings)
    kept = is_learned(temperature) and extra_negatives is not None  # not absorbed
    plain = references is None and weight is None and reduction == "mean" and not kept
    check_reduction(reduction, weight, labels.shape, embeddings.device, plain, backend)
    loss = (
        _fused(embeddings, labels, extra_negatives, temperature, normalize, process_group, backend)
        if plain
        else _by_anchor(
            embeddings,
            labels,
            extra_negatives,
            references,
            temperature,
            weight,
            reduction,
            normalize,
            process_group,
        )
    )
    return scale_gradient(loss, process_group) if ddp_scale else loss


def _by_anchor(
    embeddings: Tensor,
    labels: Tensor,
    extra_negatives: Tensor | None,
    references: tuple[Tensor, Tensor] | None,
    temperature: Tensor | float,
    weight: Tensor | None,
    reduction: Reduction,
    normalize: bool,
    process_group: dist.ProcessGroup | None,
) -> Tensor:
    text = f"SupCon, temperature {value_of(temperature, process_group)}, {reduction}, by anchor"
    with torch.autocast(embeddings.device.type, enabled=False):
        anchors = gather_anchors(embeddings, labels, extra_negatives, normalize, process_group, text, references)
        t = scalar(temperature, anchors.rows)

        def loss_of(positives: Tensor, _: Tensor, positive: Tensor, negatives: Tensor) -> Tensor:
            return losses_of(positives, positive, negatives, t)

        shares = anchors.positive.any(1).to(anchors.rows)
        return reduce(anchors.losses(loss_of), shares, weight, reduction, process_group, labels.shape)


def _fused(
    embeddings: Tensor,
    labels: Tensor,
    extra_negatives: Tensor | None,
    temperature: Tensor | float,
    normalize: bool,
    process_group: dist.ProcessGroup | None,
    backend: Backend,
) -> Tensor:
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
