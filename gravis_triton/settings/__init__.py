"""Typed settings, from flags and YAML files."""

from gravis_triton.settings.files import parse_settings, read_settings, run_directory, write_settings
from gravis_triton.settings.groups import (
    DataSettings,
    LossName,
    LossSettings,
    ModelSettings,
    OptimizationSettings,
    PretrainSettings,
    RunSettings,
    TrainingSettings,
)
from gravis_triton.settings.resolve import available_cores, flag, resolve_settings, split_seed

__all__ = [
    "DataSettings",
    "LossName",
    "LossSettings",
    "ModelSettings",
    "OptimizationSettings",
    "PretrainSettings",
    "RunSettings",
    "TrainingSettings",
    "available_cores",
    "flag",
    "parse_settings",
    "read_settings",
    "resolve_settings",
    "run_directory",
    "split_seed",
    "write_settings",
]
