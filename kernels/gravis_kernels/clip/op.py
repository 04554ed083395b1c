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
    """CLIP: the text of every image among all texts, and the image of every text among all images.

    With logits z_ij = logit_scale <image_i, text_j>, pair i being image i and text i,

        L = mean over i of -(log softmax over j of z_ij at j = i + log softmax over j of z_ji at j = i) / 2

    Any two towers will do: images and texts, clinical and dermoscopic photographs. The logits never exist as a whole.

    Args:
        image: (pairs, dim), float32, bfloat16, float16 or float64; used as given, so normalize it first. At least 2.
        text: likewise, of the same shape, dtype and device.
        logit_scale: one number, 1 / temperature; a tensor that requires a gradient gets its own.
        process_group: the loss of the pairs of all its processes, whose numbers may differ; see
            `gravis_kernels.gravis_loss` for the gradient, which for the scale is each process's share of it.
        backend: as of `gravis_kernels.gravis_loss`; "triton" takes up to 1,024 dimensions.

    Returns:
        A scalar in float32 (float64 for float64 embeddings).

    Raises:
        ValueError: a shape, dtype or value outside the above.
        RuntimeError: as `gravis_kernels.gravis_loss`.

    Source: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021.
    """
    return towers_loss("clip", image, text, logit_scale, 0.0, process_group, backend)
