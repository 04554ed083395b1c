"""`gravis_loss` and `grouping_loss`: the public functions, their checks, and dispatch to eager or compiled code."""

from dataclasses import replace
from typing import cast

import torch
import torch.distributed as dist
from torch import Tensor

from gravis_kernels.anchors import gather_anchors, reduce
from gravis_kernels.distributed import scale_gradient, value_of
from gravis_kernels.gravis.autograd import Loss, loss_op
from gravis_kernels.gravis.compute import Backend, product_dtype
from gravis_kernels.gravis.reference import losses_of
from gravis_kernels.learned_temperature import is_learned, scalar
from gravis_kernels.settings import DEFAULTS, Attention, GravisSettings, Negatives, Penalty, complete_settings
from gravis_kernels.validation import (
    Reduction,
    check_backend,
    check_embeddings,
    check_extra_negatives,
    check_labeled,
    check_member,
    check_reduction,
)


def gravis_loss(
    embeddings: Tensor,
    labels: Tensor | None = None,
    *,
    margin: float | None = None,
    attention: Attention = DEFAULTS.attention,
    attention_temperature: float = DEFAULTS.attention_temperature,
    negatives: Negatives | None = None,
    penalty: Penalty | None = None,
    temperature: Tensor | float = DEFAULTS.temperature,
    normalize: bool = True,
    detach_attention: bool = False,
    extra_negatives: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
    process_group: dist.ProcessGroup | None = None,
    ddp_scale: bool = False,
    backend: Backend = "auto",
) -> Tensor:
    """GraVIS losses: group the views of a source, and separate them from the views of all other sources.

    With z the L2-normalized embeddings, s_in = z_i . z_n, P(i) the other views of i's source, N(i) the views
    of other sources and m the margin, the loss is the mean over all views i of
    l_i = sum over j in P(i) of a_ij h_ij:

        attention  "softmax"    a_ij = softmax over j in P(i) of s_ij / attention_temperature
                   "uniform"    a_ij = 1 / (views - 1)
        negatives  "logsumexp"  h_ij = phi(t log(sum over n in N(i) of exp(s_in / t)) - s_ij + m)
                   "mean"       h_ij = mean over n in N(i) of phi(s_in - s_ij + m)
        penalty    "softplus"   phi(x) = t log(1 + exp(x / t))
                   "hinge"      phi(x) = max(0, x), with slope 0 at 0
                   "sigmoid"    phi(x) = 1 / (1 + exp(-x / t)), for negatives "mean"

    where t is the temperature. The defaults of margin and negatives depend on the penalty:

        penalty     "softplus" (default)    "hinge"    "sigmoid"
        margin      0                       0.5        0
        negatives   "logsumexp"             "mean"     "mean"

    The default is thus softmax attention with the soft hardest negative, which was among the best in short
    training runs on real images. Attention "rank" is a different loss, 1 - Smooth-AP, for which penalty
    ("sigmoid"), margin and negatives are fixed. With sigma(x) = 1 / (1 + exp(-x / t)), and j and k over all
    views of i's source, including i itself:

        H_ij = sum over n in N(i) of sigma(s_in - s_ij)
        R_ij = 1 + sum over k != j of sigma(s_ik - s_ij)
        l_i  = mean over j of H_ij / (R_ij + H_ij)

    Args:
        embeddings: (sources, views, dim), float32, bfloat16, float16 or float64; at least 2 sources and 2 views. Or
            (rows, dim) with labels.
        labels: (rows,), integers, the source of each row, for sources with different numbers of views, in any order.
            The loss is then the mean over the rows with a positive; a source with a single row only has negatives.
        margin: m, in units of similarity; see above for the default.
        attention: how the positives of an anchor are weighted.
        attention_temperature: temperature of attention "softmax", above 0; large values approach "uniform".
        negatives: how the negatives are aggregated; see above for the default.
        penalty: default "softplus", or "sigmoid" for attention "rank".
        temperature: t of the penalty, the log-sum-exp and attention "rank", above 0. A tensor that requires a gradient
            gets one; see `gravis_kernels.LearnedTemperature`. On a GPU its value is not checked.
        normalize: L2-normalize the embeddings first; the gradient accounts for it. An all-zero embedding stays
            zero and gets zero gradient. If False, z are the embeddings as given.
        detach_attention: treat a_ij as constants.
        extra_negatives: (any number, dim), a queue or memory bank: additional negatives of every view, without
            gradient; normalized like the embeddings. With a process group they must be the same on every process.
        weight: one weight per anchor, at least 0, in the shape of the embeddings without the last dimension: the loss
            is the weighted mean, sum of w_i l_i / sum of w_i. Positives and negatives are not weighted.
        reduction: "none" returns the loss of every own anchor, l_i (times its weight), in that shape.
        process_group: compute the loss over the sources of all processes in the group. Each process passes its own
            sources (their number may differ), and gets the global loss and its exact gradient for its own
            embeddings. Inconsistent sizes or settings raise an error on every process.
        ddp_scale: multiply the gradient, not the value, by the number of processes in the group: the gradient of the
            loss is the sum over processes, of which DistributedDataParallel takes the mean.
        backend: "triton": fused kernels, for up to 64 views and 1,024 dimensions, not float64. "streaming": tiled
            PyTorch, any device. "reference": dense PyTorch. "auto": "triton" for embeddings on a CUDA or ROCm
            device, "streaming" otherwise; if a backend raises, no other one is tried. Labels, weights, a learned
            temperature and reduction "none" are computed by PyTorch in blocks of anchors on every device, with
            "auto" or "reference".

    Returns:
        A scalar in float32 (float64 for float64 embeddings). Everything is computed in that dtype, except that
        "triton" computes matrix products in the dtype of the embeddings, or of autocast if enabled, as PyTorch
        does.

    Raises:
        ValueError: a shape, dtype or setting is invalid, or settings contradict each other.
        TypeError: a setting is no number, or margin or attention_temperature requires a gradient: they get none.
        RuntimeError: backend "triton" cannot run on this device; or forward-mode differentiation or a second
            derivative (backward through the gradient) is requested, neither of which is implemented.

    Source: Zhou et al., "GraVIS: Grouping Augmented Views from Independent Sources for Dermatology Analysis",
    IEEE TMI 2023; attention "rank": Brown et al., "Smooth-AP: Smoothing the Path Towards Large-Scale Image
    Retrieval", ECCV 2020.
    """
    settings = complete_settings(
        attention=attention,
        attention_temperature=attention_temperature,
        penalty=penalty,
        negatives=negatives,
        margin=margin,
        temperature=1.0 if is_learned(temperature) else temperature,
        detach_attention=detach_attention,
    )
    return grouping_loss(
        embeddings,
        # the formulas take a tensor for a number, and differentiate by it
        replace(settings, temperature=cast(float, temperature)) if is_learned(temperature) else settings,
        labels,
        extra_negatives=extra_negatives,
        weight=weight,
        reduction=reduction,
        normalize=normalize,
        process_group=process_group,
        ddp_scale=ddp_scale,
        backend=backend,
    )


def grouping_loss(
    embeddings: Tensor,
    settings: GravisSettings,
    labels: Tensor | None = None,
    *,
    extra_negatives: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
    normalize: bool = True,
    process_group: dist.ProcessGroup | None = None,
    ddp_scale: bool = False,
    backend: Backend = "auto",
    products: torch.dtype | None = None,
    learned: float = 0.0,
) -> Tensor:
    """`gravis_loss` with complete settings, as returned by `complete_settings`; their temperature may be a tensor.

    products: dtype of matrix products in backend "triton"; default: that of the embeddings or of autocast.
    learned: a temperature that the embeddings contain, which must be the same on all processes.
    """
    check_backend(backend)
    check_member(process_group)
    if labels is None:
        check_embeddings(embeddings, alone=process_group is None)
    else:
        check_labeled(embeddings, labels, alone=process_group is None)
    if extra_negatives is not None:
        check_extra_negatives(extra_negatives, embeddings)
        extra_negatives = extra_negatives.detach()
    plain = labels is None and weight is None and reduction == "mean" and not isinstance(settings.temperature, Tensor)
    check_reduction(reduction, weight, embeddings.shape[:-1], embeddings.device, plain, backend)
    loss = (
        _fused(embeddings, settings, extra_negatives, normalize, process_group, backend, products, learned)
        if plain
        else _by_anchor(embeddings, labels, settings, extra_negatives, weight, reduction, normalize, process_group)
    )
    return scale_gradient(loss, process_group) if ddp_scale else loss


def _by_anchor(
    embeddings: Tensor,
    labels: Tensor | None,
    settings: GravisSettings,
    extra_negatives: Tensor | None,
    weight: Tensor | None,
    reduction: Reduction,
    normalize: bool,
    process_group: dist.ProcessGroup | None,
) -> Tensor:
    text = f"{replace(settings, temperature=value_of(settings.temperature, process_group))}, {reduction}, by anchor"
    with torch.autocast(embeddings.device.type, enabled=False):
        anchors = gather_anchors(embeddings, labels, extra_negatives, normalize, process_group, text)
        settings = replace(settings, temperature=cast(float, scalar(settings.temperature, anchors.rows)))

        def loss_of(positives: Tensor, member: Tensor, positive: Tensor, negatives: Tensor) -> Tensor:
            count = (negatives.shape[1] - member.sum(1, keepdim=True)).clamp(min=1)
            return losses_of(positives, member, positive, negatives, count, settings)

        most = 1 if settings.negatives == "logsumexp" else anchors.members.shape[1]
        shares = anchors.positive.any(1).to(anchors.rows)
        losses = anchors.losses(loss_of, values_per_pair=most) * shares
        return reduce(losses, shares, weight, reduction, process_group, embeddings.shape[:-1])


def _fused(
    embeddings: Tensor,
    settings: GravisSettings,
    extra_negatives: Tensor | None,
    normalize: bool,
    process_group: dist.ProcessGroup | None,
    backend: Backend,
    products: torch.dtype | None,
    learned: float,
) -> Tensor:
    need_gradient = torch.is_grad_enabled() and embeddings.requires_grad
    more = (normalize, backend, products or product_dtype(embeddings), learned, need_gradient)
    # a custom op boundary costs more than a small loss, so eager calls bypass it
    if not torch.compiler.is_compiling():
        eager: Tensor = Loss.apply(embeddings, extra_negatives, settings, process_group, *more)[0]
        return eager
    group_name = "" if process_group is None else process_group.group_name
    # field by field: Dynamo cannot trace dataclasses.astuple in torch 2.11
    compiled: Tensor = loss_op(
        embeddings,
        extra_negatives,
        settings.margin,
        settings.attention,
        settings.attention_temperature,
        settings.negatives,
        settings.penalty,
        settings.temperature,
        settings.detach_attention,
        group_name,
        *more,
    )[0]
    return compiled
