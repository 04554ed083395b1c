"""`siglip_loss`: the public function."""

import torch.distributed as dist
from torch import Tensor

from gravis_kernels.gravis.compute import Backend
from gravis_kernels.towers.compute import towers_loss


def siglip_loss(
    image: Tensor,
    text: Tensor,
    *,
    logit_scale: Tensor | float,
    logit_bias: Tensor | float,
    process_group: dist.ProcessGroup | None = None,
    backend: Backend = "auto",
) -> Tensor:
    """SigLIP: for every image and every text, are they a pair?

    With logits z_ij = logit_scale <image_i, text_j> + logit_bias,

        L = -(1 / pairs) (sum over i of log sigmoid(z_ii) + sum over i and j != i of log sigmoid(-z_ij))

    The logits never exist as a whole.

    Args:
        image, text: as of `gravis_kernels.clip_loss`.
        logit_scale, logit_bias: one number each; a tensor that requires a gradient gets its own. The paper starts at
            10 and -10.
        process_group: the loss of the pairs of all its processes, whose numbers may differ; see
            `gravis_kernels.gravis_loss` for the gradient, which for scale and bias is each process's share of it.
        backend: as of `gravis_kernels.clip_loss`.

    Returns:
        A scalar in float32 (float64 for float64 embeddings).

    Raises:
        ValueError, RuntimeError: as `gravis_kernels.clip_loss`.

    Source: Zhai et al., "Sigmoid Loss for Language Image Pre-Training", ICCV 2023.
    """
    return towers_loss("siglip", image, text, logit_scale, logit_bias, process_group, backend)
