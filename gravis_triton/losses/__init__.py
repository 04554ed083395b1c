"""Pre-training losses, built on gravis_kernels."""

from gravis_triton.losses.objective import gravis_settings, resolve_loss

__all__ = ["gravis_settings", "resolve_loss"]
