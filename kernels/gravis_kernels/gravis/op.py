"""`gravis_loss`: normalisation, the exchange between processes, the choice of a backend, autograd, the op."""

import importlib
import os
from typing import Any, Literal, cast, get_args

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.distributed.distributed_c10d import _resolve_process_group

from gravis_kernels.distributed import gather_rows
from gravis_kernels.settings import Attention, GravisSettings, Negatives, Penalty
from gravis_kernels.validation import check_embeddings, complete_settings

Backend = Literal["auto", "triton", "streaming", "reference"]


def gravis_loss(
    embeddings: Tensor,
    *,
    margin: float | None = None,
    attention: Attention = "softmax",
    attention_temperature: float = 0.5,
    negatives: Negatives | None = None,
    penalty: Penalty | None = None,
    temperature: float = 0.2,
    normalize: bool = True,
    detach_attention: bool = False,
    process_group: dist.ProcessGroup | None = None,
    backend: Backend = "auto",
) -> Tensor:
    """Group the views of one source, and part them from the views of all others: the GraVIS losses.

    With z the L2-normalised embeddings, s_in = <z_i, z_n>, P(i) the other views of i's source, N(i) the views
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
        process_group: the loss of the sources of all its processes, each of which calls with its own sources
            (their numbers may differ) and gets the value of the whole and that value's exact gradient for its
            own embeddings. The backward pass does not communicate. DistributedDataParallel averages gradients
            over processes where their sum is wanted, so scale the loss:

                loss = gravis_loss(model(views), process_group=torch.distributed.group.WORLD)
                (loss * torch.distributed.get_world_size()).backward()

        backend: "triton": fused kernels, for up to 64 views and 1,024 dimensions, not float64. "streaming": tiled
            PyTorch, any device. "reference": dense PyTorch. "auto": "triton" for embeddings on a CUDA or ROCm
            device, "streaming" on every other device; nothing is tried instead of a backend that refuses.

    Returns:
        A scalar in float32 (float64 for float64 embeddings). Half-precision embeddings are computed in
        float32, except that "triton" multiplies normalised embeddings of the precision given. Under autocast
        everything is float32. A gradient of the gradient is not supported.

    Raises:
        ValueError: a shape, dtype or setting outside the above, or settings that contradict each other.
        RuntimeError: backend "triton" where its kernels cannot run.

    Source: Zhou et al., "GraVIS: Grouping Augmented Views from Independent Sources for Dermatology Analysis",
    IEEE TMI 2023; attention "rank": Brown et al., "Smooth-AP: Smoothing the Path Towards Large-Scale Image
    Retrieval", ECCV 2020.
    """
    settings = complete_settings(
        margin, attention, attention_temperature, negatives, penalty, temperature, detach_attention
    )
    return loss_of(embeddings, settings, normalize, process_group, backend)


def loss_of(
    embeddings: Tensor,
    settings: GravisSettings,
    normalize: bool,
    process_group: dist.ProcessGroup | None,
    backend: Backend,
) -> Tensor:
    """The loss with complete settings; arguments as for `gravis_loss`."""
    check_embeddings(embeddings, sources_elsewhere=process_group is not None)
    if backend not in get_args(Backend):
        raise ValueError(f"backend must be one of {', '.join(get_args(Backend))}, got {backend!r}")
    if torch.is_autocast_enabled(embeddings.device.type) and embeddings.dtype != torch.float64:
        embeddings = embeddings.float()
    need_gradient = torch.is_grad_enabled() and embeddings.requires_grad
    if torch.compiler.is_compiling():
        return _compiled(embeddings, settings, normalize, process_group, backend, need_gradient)
    # an op boundary costs more than a small loss, so eager calls go straight to the computation
    if need_gradient:
        loss: Tensor = _Loss.apply(embeddings, settings, normalize, process_group, backend)
        return loss
    return _compute(False, embeddings, settings, normalize, process_group, backend)[0]


class _Loss(torch.autograd.Function):
    """The gradient comes with the loss; the backward pass only scales it."""

    @staticmethod
    def forward(ctx: Any, embeddings: Tensor, *arguments: Any) -> Tensor:
        loss, gradient = _compute(True, embeddings, *arguments)
        ctx.save_for_backward(gradient)
        ctx.dtype = embeddings.dtype
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_loss: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return (gradient * grad_loss).to(ctx.dtype), None, None, None, None


@torch.no_grad()
def _compute(
    need_gradient: bool,
    embeddings: Tensor,
    settings: GravisSettings,
    normalize: bool,
    process_group: dist.ProcessGroup | None,
    backend: Backend,
) -> tuple[Tensor, Tensor | None]:
    """The loss, and its gradient for the embeddings in the precision it was computed in."""
    views = embeddings.shape[1]
    with torch.autocast(embeddings.device.type, enabled=False):
        rows = embeddings.detach().flatten(0, 1).to(_precision(embeddings))
        if normalize:
            lengths = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
            scales = lengths.reciprocal().masked_fill_(lengths == 0, 0)
            rows = rows * scales
        columns, row_start = (rows, 0) if process_group is None else gather_rows(rows, views, process_group)
        if len(columns) < 2 * views:
            raise ValueError(
                "the loss needs at least 2 sources to have negatives, got 1 in the process group"
            )
        loss_and_gradient, columns = _prepare(backend, columns, embeddings.dtype)
        loss, gradient = loss_and_gradient(columns, row_start, len(rows), views, settings, need_gradient)
        if process_group is not None:
            dist.all_reduce(loss, group=process_group)
        if gradient is not None:
            if normalize:
                along = (rows * gradient).sum(1, keepdim=True)
                gradient = gradient.addcmul_(rows, along, value=-1).mul_(scales)
            gradient = gradient.view_as(embeddings)
    return loss, gradient


def _prepare(backend: Backend, columns: Tensor, given: torch.dtype) -> tuple[Any, Tensor]:
    """The computation that the backend names, and the columns in the precision that it multiplies in."""
    on_gpu = columns.device.type == "cuda"  # ROCm's devices are called so too
    name = ("triton" if on_gpu else "streaming") if backend == "auto" else backend
    if name == "triton":
        if not on_gpu and os.environ.get("TRITON_INTERPRET") != "1":
            raise RuntimeError(
                'backend "triton" needs embeddings on a CUDA or ROCm device, not on '
                f'"{columns.device.type}": move them, or pass backend="auto", or set TRITON_INTERPRET=1 in '
                "the environment before Python starts to try the kernels slowly"
            )
        columns = columns.to(given)
    module = importlib.import_module(f"gravis_kernels.gravis.{name}")
    return module.loss_and_gradient, columns.contiguous()


def _precision(embeddings: Tensor) -> torch.dtype:
    return torch.float64 if embeddings.dtype == torch.float64 else torch.float32


def _compiled(
    embeddings: Tensor,
    settings: GravisSettings,
    normalize: bool,
    process_group: dist.ProcessGroup | None,
    backend: Backend,
    need_gradient: bool,
) -> Tensor:
    loss, _ = loss_op(
        embeddings,
        settings.margin,
        settings.attention,
        settings.attention_temperature,
        settings.negatives,
        settings.penalty,
        settings.temperature,
        settings.detach_attention,
        normalize,
        "" if process_group is None else process_group.group_name,
        backend,
        need_gradient,
    )
    return loss


@torch.library.custom_op("gravis_kernels::gravis_loss", mutates_args=())
def loss_op(
    embeddings: Tensor,
    margin: float,
    attention: str,
    attention_temperature: float,
    negatives: str,
    penalty: str,
    temperature: float,
    detach_attention: bool,
    normalize: bool,
    group_name: str,
    backend: str,
    need_gradient: bool,
) -> tuple[Tensor, Tensor]:
    """`gravis_loss` as one op for torch.compile: the loss, and its gradient or an empty tensor."""
    # an op's schema knows plain strings only
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
    loss, gradient = _compute(need_gradient, embeddings, settings, normalize, group, cast(Backend, backend))
    return loss, embeddings.new_empty(0) if gradient is None else gradient


@loss_op.register_fake
def _(embeddings: Tensor, *settings: Any) -> tuple[Tensor, Tensor]:
    need_gradient = settings[-1]
    precision = _precision(embeddings)
    gradient = (
        embeddings.new_empty(embeddings.shape, dtype=precision) if need_gradient else embeddings.new_empty(0)
    )
    return embeddings.new_empty((), dtype=precision), gradient


def _keep_gradient(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(output[1])
    ctx.dtype, ctx.settings = inputs[0].dtype, len(inputs) - 1


def _scale_gradient(ctx: Any, grad_loss: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    (gradient,) = ctx.saved_tensors
    return (gradient * grad_loss).to(ctx.dtype), *[None] * ctx.settings


loss_op.register_autograd(_scale_gradient, setup_context=_keep_gradient)
