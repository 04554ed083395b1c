"""`gravis_loss` and `grouping_loss`: the public functions, their checks and the way to eager or compiled code."""

import torch
import torch.distributed as dist
from torch import Tensor

from gravis_kernels.gravis.autograd import Loss, loss_op
from gravis_kernels.gravis.compute import Backend, product_dtype
from gravis_kernels.settings import DEFAULTS, Attention, GravisSettings, Negatives, Penalty, complete_settings
from gravis_kernels.validation import check_backend, check_embeddings, check_extra_negatives, check_member


def gravis_loss(
    embeddings: Tensor,
    *,
    margin: float | None = None,
    attention: Attention = DEFAULTS.attention,
    attention_temperature: float = DEFAULTS.attention_temperature,
    negatives: Negatives | None = None,
    penalty: Penalty | None = None,
    temperature: float = DEFAULTS.temperature,
    normalize: bool = True,
    detach_attention: bool = False,
    extra_negatives: Tensor | None = None,
    process_group: dist.ProcessGroup | None = None,
    backend: Backend = "auto",
) -> Tensor:
    """Group the views of one source, and part them from the views of all others: the GraVIS losses.

    With z the L2-normalized embeddings, s_in = <z_i, z_n>, P(i) the other views of i's source, N(i) the views
    of other sources and m the margin, the loss is the mean over all views i of
    l_i = sum over j in P(i) of a_ij h_ij:

        attention  "softmax"    a_ij = softmax over j in P(i) of s_ij / attention_temperature
                   "uniform"    a_ij = 1 / (views - 1)
        negatives  "logsumexp"  h_ij = phi(t log(sum over n in N(i) of exp(s_in / t)) - s_ij + m)
                   "mean"       h_ij = mean over n in N(i) of phi(s_in - s_ij + m)
        penalty    "softplus"   phi(x) = t log(1 + exp(x / t))
                   "hinge"      phi(x) = max(0, x), with slope 0 at 0
                   "sigmoid"    phi(x) = 1 / (1 + exp(-x / t)), for negatives "mean"

    with t the temperature. Margin and negatives that are left out are those that go with the penalty:

        penalty     "softplus" (default)    "hinge"    "sigmoid"
        margin      0                       0.5        0
        negatives   "logsumexp"             "mean"     "mean"

    so that without any setting it is softmax attention over the soft hardest negative, which was among the best
    in short trainings on real images. attention "rank" is another loss, 1 - Smooth-AP, in which penalty
    ("sigmoid"), margin and negatives leave no choice. With sigma(x) = 1 / (1 + exp(-x / t)), and j and k over
    all views of i's source, i itself included:

        H_ij = sum over n in N(i) of sigma(s_in - s_ij)
        R_ij = 1 + sum over k != j of sigma(s_ik - s_ij)
        l_i  = mean over j of H_ij / (R_ij + H_ij)

    Args:
        embeddings: (sources, views, dim), float32, bfloat16, float16 or float64; at least 2 sources, 2 views.
        margin: m, in units of similarity; see above for what it is if left out.
        attention: what weighs the positives of an anchor.
        attention_temperature: of attention "softmax", above 0; towards infinity it becomes uniform.
        negatives: likewise.
        penalty: "softplus" if left out, "sigmoid" for attention "rank".
        temperature: of the penalty, the log-sum-exp and attention "rank", above 0.
        normalize: divide every embedding by its length first; its Jacobian is in the gradient. An embedding
            that is all zero stays so and gets no gradient. If False, z are the embeddings as they are given.
        detach_attention: treat a_ij as constants.
        extra_negatives: (any number, dim), a queue or memory: negatives of every view, in N(i) of every i, that get
            no gradient; normalized as the embeddings are. With a process group the same on every process.
        process_group: the loss of the sources of all its processes, each of which calls with its own sources
            (their numbers may differ) and gets the value of the whole and that value's exact gradient for its
            own embeddings. Sizes that do not fit together are refused by all of them. The backward pass does
            not communicate. DistributedDataParallel averages gradients over processes where their sum is
            wanted, so scale the loss:

                loss = gravis_loss(model(views), process_group=torch.distributed.group.WORLD)
                (loss * torch.distributed.get_world_size()).backward()

        backend: "triton": fused kernels, for up to 64 views and 1,024 dimensions, not float64. "streaming": tiled
            PyTorch, any device. "reference": dense PyTorch. "auto": "triton" for embeddings on a CUDA or ROCm
            device, "streaming" on every other device; nothing is tried instead of a backend that refuses.

    Returns:
        A scalar in float32 (float64 for float64 embeddings). Everything is computed in float32, except that
        "triton" multiplies embeddings in the precision given, under autocast in that of autocast, as PyTorch
        multiplies matrices.

    Raises:
        ValueError: a shape, dtype or setting outside the above, or settings that contradict each other.
        TypeError: margin or a temperature is a tensor that requires a gradient: they get none (`nt_xent_loss` and
            `supcon_loss` can learn their temperature).
        RuntimeError: backend "triton" where its kernels cannot run; forward-mode differentiation, and the backward
            pass through the gradient (a second derivative), which do not exist.

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
        temperature=temperature,
        detach_attention=detach_attention,
    )
    return grouping_loss(
        embeddings,
        settings,
        extra_negatives=extra_negatives,
        normalize=normalize,
        process_group=process_group,
        backend=backend,
    )


def grouping_loss(
    embeddings: Tensor,
    settings: GravisSettings,
    *,
    extra_negatives: Tensor | None = None,
    normalize: bool = True,
    process_group: dist.ProcessGroup | None = None,
    backend: Backend = "auto",
    products: torch.dtype | None = None,
) -> Tensor:
    """`gravis_loss` with settings that are complete, as `complete_settings` returns them.

    products: what backend "triton" multiplies in, if not in the precision of the embeddings or of autocast.
    """
    check_backend(backend)
    check_member(process_group)
    check_embeddings(embeddings, alone=process_group is None)
    if extra_negatives is not None:
        check_extra_negatives(extra_negatives, embeddings)
        extra_negatives = extra_negatives.detach()
    need_gradient = torch.is_grad_enabled() and embeddings.requires_grad
    more = (normalize, backend, products or product_dtype(embeddings), need_gradient)
    # an op boundary costs more than a small loss, so eager calls go straight to the computation
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
