"""Fused losses for grouping augmented views, exact on every device: needs torch, and triton on GPUs."""

from gravis_kernels.gravis.op import gravis_loss
from gravis_kernels.nt_xent.op import nt_xent_loss
from gravis_kernels.settings import GravisSettings

__all__ = ["GravisSettings", "gravis_loss", "nt_xent_loss"]
