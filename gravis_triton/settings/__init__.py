"""Typed settings of every job, from flags, keyword arguments and YAML files."""

from gravis_triton.settings.augmentation import PRESETS, LabeledViewSettings, ViewSettings
from gravis_triton.settings.config import (
    IRRELEVANT,
    augmentation,
    changed_settings,
    find_config,
    read_settings,
    read_yaml,
    settings_from,
    write_settings,
)
from gravis_triton.settings.data import DataSettings, StreamingSettings
from gravis_triton.settings.flat import checked_value, checked_values, flat_hints, flatten, override
from gravis_triton.settings.jobs import (
    ClassificationSettings,
    CompareSettings,
    Decoder,
    EvaluateSettings,
    EvaluationSettings,
    FinetuneSettings,
    PretrainSettings,
    SegmentationSettings,
)
from gravis_triton.settings.loss import LossName, LossSettings
from gravis_triton.settings.model import EncoderSettings, ModelSettings
from gravis_triton.settings.optimization import FinetuneOptimizationSettings, OptimizationSettings
from gravis_triton.settings.ranges import Range, check_ranges, flag
from gravis_triton.settings.resolve import (
    DEFAULT_MODEL,
    default_cache_size,
    default_image_size,
    default_workers,
    resolve_evaluate,
    resolve_finetune,
    resolve_pretrain,
    resolved_split_seed,
)
from gravis_triton.settings.run import (
    FinetuneTrainingSettings,
    LoopSettings,
    RunSettings,
    TrainingSettings,
)
from gravis_triton.settings.tools import (
    CheckSettings,
    EmbedSettings,
    ExportSettings,
    PredictSettings,
    PushSettings,
    ReportSettings,
    RunsSettings,
    ShardsSettings,
)

__all__ = [
    "DEFAULT_MODEL",
    "IRRELEVANT",
    "PRESETS",
    "CheckSettings",
    "ClassificationSettings",
    "CompareSettings",
    "DataSettings",
    "Decoder",
    "EmbedSettings",
    "EncoderSettings",
    "EvaluateSettings",
    "EvaluationSettings",
    "ExportSettings",
    "FinetuneOptimizationSettings",
    "FinetuneSettings",
    "FinetuneTrainingSettings",
    "LabeledViewSettings",
    "LoopSettings",
    "LossName",
    "LossSettings",
    "ModelSettings",
    "OptimizationSettings",
    "PredictSettings",
    "PretrainSettings",
    "PushSettings",
    "Range",
    "ReportSettings",
    "RunSettings",
    "RunsSettings",
    "SegmentationSettings",
    "ShardsSettings",
    "StreamingSettings",
    "TrainingSettings",
    "ViewSettings",
    "augmentation",
    "changed_settings",
    "check_ranges",
    "checked_value",
    "checked_values",
    "default_cache_size",
    "default_image_size",
    "default_workers",
    "find_config",
    "flag",
    "flat_hints",
    "flatten",
    "override",
    "read_settings",
    "read_yaml",
    "resolve_evaluate",
    "resolve_finetune",
    "resolve_pretrain",
    "resolved_split_seed",
    "settings_from",
    "write_settings",
]
