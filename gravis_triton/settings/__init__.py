"""Typed settings, from flags and YAML files."""

from gravis_triton.settings.augmentation import augmentation
from gravis_triton.settings.files import (
    parse_flags,
    parse_settings,
    read_settings,
    run_directory,
    write_settings,
)
from gravis_triton.settings.finetune import (
    ClassificationSettings,
    Decoder,
    EncoderSettings,
    EvaluateSettings,
    FinetuneSettings,
    LabelSettings,
    SegmentationSettings,
    default_image_size,
    resolve_evaluation,
    resolve_finetune,
)
from gravis_triton.settings.groups import (
    AugmentSettings,
    DataSettings,
    LossName,
    LossSettings,
    ModelSettings,
    OptimizationSettings,
    PretrainSettings,
    RunSettings,
    TrainingSettings,
)
from gravis_triton.settings.ranges import flag
from gravis_triton.settings.resolve import available_cores, resolve_settings, split_seed

__all__ = [
    "AugmentSettings",
    "ClassificationSettings",
    "DataSettings",
    "Decoder",
    "EncoderSettings",
    "EvaluateSettings",
    "FinetuneSettings",
    "LabelSettings",
    "LossName",
    "LossSettings",
    "ModelSettings",
    "OptimizationSettings",
    "PretrainSettings",
    "RunSettings",
    "SegmentationSettings",
    "TrainingSettings",
    "augmentation",
    "available_cores",
    "default_image_size",
    "flag",
    "parse_flags",
    "parse_settings",
    "read_settings",
    "resolve_evaluation",
    "resolve_finetune",
    "resolve_settings",
    "run_directory",
    "split_seed",
    "write_settings",
]
