"""`nt_xent_loss`: plain, a special case of the GraVIS losses, computed by their kernels."""

import torch
import torch.distributed as dist
from torch import Tensor

from gravis_kernels.anchors import gather_anchors, reduce
from gravis_kernels.distributed import scale_gradient, value_of
from gravis_kernels.gravis.compute import Backend, product_dtype
from gravis_kernels.gravis.op import grouping_loss
from gravis_kernels.learned_temperature import absorb, is_learned, scalar
from gravis_kernels.nt_xent.reference import losses_of
from gravis_kernels.settings import DEFAULTS, complete_settings
from gravis_kernels.validation import (
    Reduction,
    check_backend,
    check_embeddings,
    check_extra_negatives,
    check_labeled,
    check_member,
    check_reduction,
    check_references,
    check_tensor,
)


def nt_xent_loss(
    embeddings: Tensor,
    labels: Tensor | None = None,
    *,
    keys: Tensor | None = None,
    queue: Tensor | None = None,
    references: tuple[Tensor, Tensor] | None = None,
    temperature: Tensor | float = DEFAULTS.temperature,
    extra_negatives: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
    normalize: bool = True,
    process_group: dist.ProcessGroup | None = None,
    ddp_scale: bool = False,
    backend: Backend = "auto",
) -> Tensor:
    """NT-Xent (InfoNCE) for any number of positives: every positive against all negatives.

    With z the L2-normalized embeddings and e_ij = exp(z_i . z_j / temperature), the loss is the mean over all pairs
    of an anchor i and a positive j of

        -log(e_ij / (e_ij + sum over negatives n of e_in))

    What positives and negatives are depends on the form:

        nt_xent_loss(z)                     z (sources, views, dim): the other views of i's source; the views of others
        nt_xent_loss(z, labels)             z (rows, dim): the other rows with i's label; the rows with another label
        nt_xent_loss(z, labels, references=(r, r_labels))   the same among the rows r instead of z
        nt_xent_loss(q, keys=k)             q, k (rows, dim): the key of i; the keys of others
        nt_xent_loss(q, keys=k, queue=r)    the key of i; the rows r alone

    The first with 2 views is the SimCLR loss, the fourth that of MoCo v3 and the last that of MoCo. Extra negatives
    are added in every form.

    Args:
        embeddings, labels, keys, queue: as above; labels are integers. Keys and references get a gradient if they
            require one, a queue does not.
        references: rows and their labels.
        temperature: a tensor that requires a gradient gets one (each process its share); see
            `gravis_kernels.LearnedTemperature`. It must be a tensor on all processes or on none. On a GPU the value of
            a tensor is not checked.
        weight: one weight per anchor; its pairs count that much. See `gravis_kernels.gravis_loss`.
        reduction: "none" returns the mean over the positives of every own anchor, times its weight.
        extra_negatives, normalize, process_group, ddp_scale, backend: see `gravis_kernels.gravis_loss`. The first form
            is equal to `gravis_loss(attention="uniform", negatives="logsumexp", penalty="softplus", margin=0) /
            temperature`; the others, weights, reduction "none", and a learned temperature with extra negatives are
            computed by PyTorch in blocks of anchors.

    Returns, raises: see `gravis_kernels.gravis_loss`.

    Source: Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations", ICML 2020; He et al.,
    "Momentum Contrast for Unsupervised Visual Representation Learning", CVPR 2020.
    """
    check_backend(backend)
    check_member(process_group)
    if keys is not None:
        labels, references = _match_keys(embeddings, keys, labels, references, process_group)
        if process_group is None and len(keys) < (1 if queue is not None else 2):
            raise ValueError(f"the loss needs at least 2 queries, or 1 with a queue, got {len(keys)}")
    elif queue is not None:
        raise ValueError("queue holds the negatives of queries with keys: pass keys, or extra_negatives instead")
    elif references is not None and labels is None:
        raise ValueError("references need the labels of the embeddings: pass labels")
    if labels is None:
        check_embeddings(embeddings, alone=process_group is None)
    else:
        check_labeled(embeddings, labels, alone=process_group is None and references is None)
    if references is not None:
        check_references(references, embeddings)
    if queue is not None:
        check_extra_negatives(queue, embeddings, "queue")
    if extra_negatives is not None:
        check_extra_negatives(extra_negatives, embeddings)
    kept = is_learned(temperature) and extra_negatives is not None  # not absorbed
    plain = labels is None and weight is None and reduction == "mean" and not kept
    check_reduction(reduction, weight, embeddings.shape[:-1], embeddings.device, plain, backend)
    if not plain:
        loss = _by_anchor(
            embeddings, labels, references, queue, temperature, extra_negatives, weight, reduction, normalize,
            process_group,
        )  # fmt: skip
        return scale_gradient(loss, process_group) if ddp_scale else loss
    products = product_dtype(embeddings)
    embeddings, constant, normalize = absorb(embeddings, temperature, normalize, extra_negatives)
    settings = complete_settings(attention="uniform", penalty="softplus", temperature=constant)
    loss = grouping_loss(
        embeddings,
        settings,
        extra_negatives=extra_negatives,
        normalize=normalize,
        process_group=process_group,
        ddp_scale=ddp_scale,
        backend=backend,
        products=products,
        learned=value_of(temperature, process_group),
    )
    return loss / settings.temperature


def _match_keys(
    queries: Tensor,
    keys: Tensor,
    labels: Tensor | None,
    references: tuple[Tensor, Tensor] | None,
    process_group: dist.ProcessGroup | None,
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Labels that a query shares with its key alone, in all processes."""
    if labels is not None or references is not None:
        raise ValueError("keys replace labels and references: leave one of them out")
    check_tensor("embeddings", queries)
    check_tensor("keys", keys)
    if keys.shape != queries.shape:
        raise ValueError(f"keys must have the shape of the queries, {tuple(queries.shape)}, got {tuple(keys.shape)}")
    rank = 0 if process_group is None else dist.get_rank(process_group)
    labels = torch.arange(len(queries), device=queries.device) + (rank << 40)
    return labels, (keys, labels)


def _by_anchor(
    embeddings: Tensor,
    labels: Tensor | None,
    references: tuple[Tensor, Tensor] | None,
    queue: Tensor | None,
    temperature: Tensor | float,
    extra_negatives: Tensor | None,
    weight: Tensor | None,
    reduction: Reduction,
    normalize: bool,
    process_group: dist.ProcessGroup | None,
) -> Tensor:
    text = f"NT-Xent, temperature {value_of(temperature, process_group)}, {reduction}, queue {queue is not None}"
    if queue is not None:
        queue = queue if extra_negatives is None else torch.cat([queue, extra_negatives.to(queue)])
        extra_negatives = queue
    with torch.autocast(embeddings.device.type, enabled=False):
        anchors = gather_anchors(embeddings, labels, extra_negatives, normalize, process_group, text, references)
        t = scalar(temperature, anchors.rows)
        skipped = len(anchors.columns) - len(queue) if queue is not None else 0  # keys are no negatives beside a queue

        def loss_of(positives: Tensor, _: Tensor, positive: Tensor, negatives: Tensor) -> Tensor:
            return losses_of(positives, positive, negatives[:, skipped:], t)

        shares = anchors.positive.sum(1).to(anchors.rows)
        return reduce(anchors.losses(loss_of), shares, weight, reduction, process_group, embeddings.shape[:-1])
