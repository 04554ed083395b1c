"""Defaults that depend on other settings, on the encoder or on the machine."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

from gravis_triton.process import available_cores
from gravis_triton.settings.groups import DataSettings
from gravis_triton.settings.jobs import EvaluateSettings, FinetuneSettings, PretrainSettings

Settings = TypeVar("Settings", bound=PretrainSettings | FinetuneSettings | EvaluateSettings)

_MAX_WORKERS = 8


def complete(settings: Settings, *, model: str | None = None, image_size: int | None = None) -> Settings:
    """The settings with defaults in place of None, as the run saves them.

    model, image_size: those of the opened encoder, if it sets them.
    """
    size = settings.image_size or image_size or default_image_size(settings.data)
    changes: dict[str, Any] = {
        "image_size": size,
        "cache_size": settings.cache_size or default_cache_size(size),
        "num_workers": default_workers() if settings.num_workers is None else settings.num_workers,
    }
    synthetic = settings.data == "synthetic"
    if isinstance(settings, PretrainSettings):
        changes |= {"model": settings.model or model or chosen_model(settings), "pretrained": False}
        if settings.pretrained:
            changes["encoder"] = "imagenet"
        if settings.total_views is None:
            changes["epochs"] = settings.epochs or (4 if synthetic else 100)
    elif isinstance(settings, FinetuneSettings):
        changes["epochs"] = settings.epochs or (6 if synthetic else 50)
    return replace(settings, **changes)


def complete_as_saved(settings: Settings, saved: Mapping[str, Any]) -> Settings:
    """The settings with defaults in place of None, where `saved`, the settings of a run, has what the encoder and the
    machine determine."""
    if settings.mixed_precision == "auto":
        settings = replace(settings, mixed_precision=saved.get("mixed_precision", "auto"))
    of_encoder = {} if settings.encoder in ("random", "imagenet") else saved
    return complete(settings, model=of_encoder.get("model"), image_size=of_encoder.get("image_size"))


def default_cache_size(image_size: int) -> int:
    """Short side in pixels of the images that are cropped to `image_size`."""
    return math.ceil(1.5 * image_size)


def default_workers() -> int:
    """Number of worker processes that decode and load images."""
    return min(_MAX_WORKERS, available_cores())


def chosen_model(settings: Any) -> str | None:
    """timm backbone that the settings name, or the default one of random and ImageNet weights; other encoders have
    their own."""
    if settings.model is None and settings.encoder in ("random", "imagenet"):
        return "resnet10t" if settings.data == "synthetic" else "resnet18"
    return settings.model


def default_image_size(data: str) -> int:
    """Image size in pixels for an encoder that does not set one; data: the value of --data."""
    return 64 if data == "synthetic" else 224


def resolved_split_seed(data: DataSettings, seed: int) -> int:
    """Seed of random splits: --split-seed, else `seed`."""
    return seed if data.split_seed is None else data.split_seed
