"""Typed settings of every job, from flags, keyword arguments and YAML files."""

from gravis_triton.settings.augmentation import PRESETS, LabeledViewSettings, ViewSettings
from gravis_triton.settings.config import IRRELEVANT, changed_settings, find_config, read_yaml, write_settings
from gravis_triton.settings.defaults import (
    DEFAULT_MODEL,
    complete,
    complete_as_saved,
    default_cache_size,
    default_image_size,
    default_workers,
    resolved_split_seed,
)
from gravis_triton.settings.fields import Argument, flag, settings_of
from gravis_triton.settings.groups import DataSettings, OptimizationSettings, RunSettings
from gravis_triton.settings.jobs import (
    CheckSettings,
    ClassificationSettings,
    CompareSettings,
    EmbedSettings,
    EvaluateSettings,
    ExportSettings,
    FinetuneSettings,
    MethodName,
    PredictSettings,
    PretrainSettings,
    PushSettings,
    ReportSettings,
    RunsSettings,
    SegmentationSettings,
    ShardsSettings,
)
from gravis_triton.settings.resolve import augmentation, check_values, resolve
