"""`clip_loss`: the public function."""

import torch.distributed as dist
from torch import Tensor

from gravis_kernels.gravis.compute import Backend
from gravis_kernels.towers.compute import towers_loss


def clip_loss(
    image: Tensor,
    text: Tensor,
    *,
    logit_scale: Tensor | float,
    process_group: dist.ProcessGroup | None = None,
    backend: Backend = "auto",
) -> Tensor:
    """CLIP loss: classify the text of every image among all texts, and the image of every text among all images.

    With logits z_ij = logit_scale <image_i, text_j>, where pair i is image i and text i,

        L = mean over i of -(log softmax over j of z_ij at j = i + log softmax over j of z_ji at j = i) / 2

    Any two towers work: images and texts, or clinical and dermoscopic images. The logit matrix is never materialized.

    Args:
        image: (pairs, dim), float32, bfloat16, float16 or float64; at least 2 pairs. Used as given: normalize it first.
        text: same shape, dtype and device as image; also used as given.
        logit_scale: a scalar, 1 / temperature; a tensor that requires a gradient gets one.
        process_group: compute the loss over the pairs of all processes (their number may differ); see
            `gravis_kernels.gravis_loss` for the gradient. The scale gets each process's share of its gradient.
        backend: see `gravis_kernels.gravis_loss`; "triton" supports up to 1,024 dimensions.

    Returns:
        A scalar in float32 (float64 for float64 embeddings).

    Raises:
        ValueError: a shape, dtype or value is invalid.
        RuntimeError: see `gravis_kernels.gravis_loss`.

    Source: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021.
    """
    return towers_loss("clip", image, text, logit_scale, 0.0, process_group, backend)
