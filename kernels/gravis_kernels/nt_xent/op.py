"""`nt_xent_loss`: a special case of the GraVIS losses, computed by their kernels."""

import torch.distributed as dist
from torch import Tensor

from gravis_kernels.distributed import value_of
from gravis_kernels.gravis.compute import Backend, product_dtype
from gravis_kernels.gravis.op import grouping_loss
from gravis_kernels.learned_temperature import absorb
from gravis_kernels.settings import DEFAULTS, complete_settings
from gravis_kernels.validation import check_embeddings


def nt_xent_loss(
    embeddings: Tensor,
    *,
    temperature: Tensor | float = DEFAULTS.temperature,
    extra_negatives: Tensor | None = None,
    normalize: bool = True,
    process_group: dist.ProcessGroup | None = None,
    backend: Backend = "auto",
) -> Tensor:
    """NT-Xent for any number of views: every positive against all negatives.

    With z the L2-normalized embeddings and e_ij = exp(<z_i, z_j> / temperature), the loss is the mean over all
    views i and their positives j (the other views of i's source) of -log(e_ij / (e_ij + sum over negatives n of
    e_in)); negatives are the views of other sources and the extra negatives. For 2 views this is the SimCLR loss.

    temperature: a tensor that requires a gradient gets one (each process its share), but is not allowed with extra
    negatives. It must be a tensor on all processes or on none. A tensor is not checked to be positive, as that
    would synchronize with the GPU.

    Equal to `gravis_loss(attention="uniform", negatives="logsumexp", penalty="softplus", margin=0) /
    temperature`; see there for shapes, precision, `extra_negatives`, `normalize`, `process_group` (and
    DistributedDataParallel), `backend` and errors.

    Source: Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations", ICML 2020.
    """
    check_embeddings(embeddings, alone=process_group is None)
    products = product_dtype(embeddings)
    embeddings, constant, normalize = absorb(embeddings, temperature, normalize, extra_negatives)
    settings = complete_settings(attention="uniform", penalty="softplus", temperature=constant)
    loss = grouping_loss(
        embeddings,
        settings,
        extra_negatives=extra_negatives,
        normalize=normalize,
        process_group=process_group,
        backend=backend,
        products=products,
        learned=value_of(temperature, process_group),
    )
    return loss / settings.temperature
