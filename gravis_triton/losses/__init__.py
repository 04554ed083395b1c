"""Pre-training losses, built on gravis_kernels."""

from gravis_triton.losses.objective import Objective, gravis_settings, resolve_loss
from gravis_triton.losses.statistics import GroupingStatistics, grouping_statistics

__all__ = ["GroupingStatistics", "Objective", "gravis_settings", "grouping_statistics", "resolve_loss"]
