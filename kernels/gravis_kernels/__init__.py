"""Fused contrastive losses, exact on every device. Requires torch, and triton on GPUs."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gravis_kernels.settings import GravisSettings, complete_settings

if TYPE_CHECKING:
    from gravis_kernels.clip.op import clip_loss
    from gravis_kernels.gravis.op import gravis_loss, grouping_loss
    from gravis_kernels.learned_temperature import LearnedTemperature
    from gravis_kernels.modules import (
        ClipLoss,
        GravisLoss,
        MultiViewNTXentLoss,
        NTXentLoss,
        SigLipLoss,
        SupConLoss,
    )
    from gravis_kernels.nt_xent.op import nt_xent_loss
    from gravis_kernels.siglip.op import siglip_loss
    from gravis_kernels.supcon.op import supcon_loss

__all__ = [
    "ClipLoss",
    "GravisLoss",
    "GravisSettings",
    "LearnedTemperature",
    "MultiViewNTXentLoss",
    "NTXentLoss",
    "SigLipLoss",
    "SupConLoss",
    "clip_loss",
    "complete_settings",
    "gravis_loss",
    "grouping_loss",
    "nt_xent_loss",
    "siglip_loss",
    "supcon_loss",
]

_MODULES = {
    "ClipLoss": "gravis_kernels.modules",
    "GravisLoss": "gravis_kernels.modules",
    "LearnedTemperature": "gravis_kernels.learned_temperature",
    "MultiViewNTXentLoss": "gravis_kernels.modules",
    "NTXentLoss": "gravis_kernels.modules",
    "SigLipLoss": "gravis_kernels.modules",
    "SupConLoss": "gravis_kernels.modules",
    "clip_loss": "gravis_kernels.clip.op",
    "gravis_loss": "gravis_kernels.gravis.op",
    "grouping_loss": "gravis_kernels.gravis.op",
    "nt_xent_loss": "gravis_kernels.nt_xent.op",
    "siglip_loss": "gravis_kernels.siglip.op",
    "supcon_loss": "gravis_kernels.supcon.op",
}


def __getattr__(name: str) -> Any:
    """Import the losses on first access: torch takes seconds to import, and the settings do not need it."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
