"""`siglip_loss`: the public function."""

import torch.distributed as dist
from torch import Tensor

from gravis_kernels.gravis.compute import Backend
from gravis_kernels.siglip.reference import pair_losses
from gravis_kernels.towers.compute import towers_loss
from gravis_kernels.validation import Reduction


def siglip_loss(
    image_features: Tensor,
    text_features: Tensor,
    logit_scale: Tensor | float,
    logit_bias: Tensor | float,
    *,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
    process_group: dist.ProcessGroup | None = None,
    ddp_scale: bool = False,
    backend: Backend = "auto",
) -> Tensor:
    """SigLIP loss: classify every image and text as a pair or not.

    With logits z_ij = logit_scale <image_i, text_j> + logit_bias,

        L = -(1 / pairs) (sum over i of log sigmoid(z_ii) + sum over i and j != i of log sigmoid(-z_ij))

    The logit matrix is never materialized.

    Args:
        image_features, text_features: see `gravis_kernels.clip_loss`.
        logit_scale, logit_bias: scalars; a tensor that requires a gradient gets one. The paper starts at 10 and -10.
        weight: one weight per pair, at least 0: the loss is the weighted mean, sum of w_i l_i / sum of w_i.
        reduction: "none" returns the loss of every own image with all texts, times its weight.
        process_group: compute the loss over the pairs of all processes (their number may differ); see
            `gravis_kernels.gravis_loss` for the gradient. Scale and bias get each process's share of their gradient.
        ddp_scale, backend: see `gravis_kernels.clip_loss`.

    Returns:
        A scalar in float32 (float64 for float64 embeddings).

    Raises:
        ValueError, RuntimeError: see `gravis_kernels.clip_loss`.

    Source: Zhai et al., "Sigmoid Loss for Language Image Pre-Training", ICCV 2023.
    """
    return towers_loss(
        "siglip", pair_losses, image_features, text_features, logit_scale, logit_bias, weight, reduction,
        process_group, ddp_scale, backend,
    )  # fmt: skip
