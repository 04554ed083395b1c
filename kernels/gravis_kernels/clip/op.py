"""`clip_loss`: the public function."""

import torch.distributed as dist
from torch import Tensor

from gravis_kernels.clip.reference import pair_losses
from gravis_kernels.gravis.compute import Backend
from gravis_kernels.towers.compute import towers_loss
from gravis_kernels.validation import Reduction


def clip_loss(
    image_features: Tensor,
    text_features: Tensor,
    logit_scale: Tensor | float,
    *,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
    process_group: dist.ProcessGroup | None = None,
    ddp_scale: bool = False,
    backend: Backend = "auto",
) -> Tensor:
    """CLIP loss: classify the text of every image among all texts, and the image of every text among all images.

    With logits z_ij = logit_scale <image_i, text_j>, where pair i is image i and text i,

        L = mean over i of -(log softmax over j of z_ij at j = i + log softmax over j of z_ji at j = i) / 2

    Any two towers work: images and texts, or clinical and dermoscopic images. The logit matrix is never materialized.

    Args:
        image_features: (pairs, dim), float32, bfloat16, float16 or float64; at least 2 pairs. Used as given: normalize
            them first. Once in 1,000 calls lengths far from 1 raise a warning (not under torch.compile).
        text_features: same shape, dtype and device.
        logit_scale: a scalar, 1 / temperature; a tensor that requires a gradient gets one.
        weight: one weight per pair, at least 0: the loss is the weighted mean, sum of w_i l_i / sum of w_i.
        reduction: "none" returns the loss of every own pair, times its weight.
        process_group: compute the loss over the pairs of all processes (their number may differ); see
            `gravis_kernels.gravis_loss` for the gradient. The scale gets each process's share of its gradient.
        ddp_scale, backend: see `gravis_kernels.gravis_loss`; "triton" supports up to 1,024 dimensions.

    Returns:
        A scalar in float32 (float64 for float64 embeddings).

    Raises:
        ValueError: a shape, dtype or value is invalid.
        RuntimeError: see `gravis_kernels.gravis_loss`.

    Source: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021.
    """
    return towers_loss(
        "clip", pair_losses, image_features, text_features, logit_scale, 0.0, weight, reduction, process_group,
        ddp_scale, backend,
    )  # fmt: skip
