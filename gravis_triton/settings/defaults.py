"""Defaults that depend on other settings or on the machine."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

from gravis_triton.errors import UserError
from gravis_triton.process import available_cores
from gravis_triton.settings.groups import DataSettings
from gravis_triton.settings.jobs import FinetuneSettings, PretrainSettings

Pretraining = TypeVar("Pretraining", bound=PretrainSettings)
Finetuning = TypeVar("Finetuning", bound=FinetuneSettings)
Settings = TypeVar("Settings", bound=DataSettings)

DEFAULT_MODEL = "resnet18"
_MAX_WORKERS = 8


def resolve_pretrain(
    settings: Pretraining, *, model: str = DEFAULT_MODEL, image_size: int | None = None
) -> Pretraining:
    """The settings with defaults in place of None. Raises UserError for conflicting settings.

    model, image_size: those of the opened encoder, if an encoder directory sets them.
    """
    if settings.pretrained and settings.encoder not in ("random", "imagenet"):
        raise UserError(f"--pretrained conflicts with --encoder {settings.encoder}: drop one of them")
    if settings.total_views is not None and settings.epochs is not None:
        raise UserError("--total-views and --epochs both set the training length: drop one of them")
    if settings.steps_per_epoch is not None and not settings.streaming:
        raise UserError("--steps-per-epoch has no effect without --streaming: drop it")
    for name, value in settings.reading().items():
        if value is not None and settings.streaming:
            raise UserError(f"--{name} is for tables, but --streaming reads shards: drop one of them")
    if settings.eval_every is not None and not settings.evaluate:
        raise UserError("--eval-every has no effect with --no-evaluate: drop one of them")
    epochs = settings.epochs
    if settings.total_views is None and epochs is None:
        epochs = 8 if settings.data == "synthetic" else 100
    return replace(
        resolve_data(settings, settings.image_size or image_size or default_image_size(settings.data)),
        encoder="imagenet" if settings.pretrained else settings.encoder,
        pretrained=False,  # now given by the encoder
        model=settings.model or model,
        epochs=epochs,
    )


def resolve_finetune(settings: Finetuning, *, image_size: int) -> Finetuning:
    """The settings with defaults in place of None; `image_size` is that of the opened encoder.

    Raises UserError for conflicting settings.
    """
    if settings.freeze_encoder and settings.layer_decay != 1:
        raise UserError("--layer-decay has no effect with --freeze-encoder: drop one of them")
    if settings.freeze_encoder and settings.bn_statistics == "batch":
        raise UserError("--bn-statistics batch has no effect with --freeze-encoder: drop one of them")
    epochs = settings.epochs or (6 if settings.data == "synthetic" else 50)
    return replace(resolve_data(settings, image_size), epochs=epochs)


def resolve_data(settings: Settings, image_size: int) -> Settings:
    """The settings with the size of images, in the cache too, and the number of workers in place of None."""
    return replace(
        settings,
        image_size=image_size,  # type: ignore[call-arg]  # of jobs with an encoder
        cache_size=settings.cache_size or default_cache_size(image_size),
        num_workers=default_workers() if settings.num_workers is None else settings.num_workers,
    )


def complete(settings: Any, saved: Mapping[str, Any]) -> Any:
    """The settings of a training or evaluation job with defaults in place of None, as its run saves them.

    saved: settings that a run has saved; has what the encoder or the machine determines.
    """
    if settings.mixed_precision == "auto":
        settings = replace(settings, mixed_precision=saved.get("mixed_precision", "auto"))
    of_encoder = {} if settings.encoder in ("random", "imagenet") else saved
    size = settings.image_size or of_encoder.get("image_size") or default_image_size(settings.data)
    if isinstance(settings, PretrainSettings):
        return resolve_pretrain(settings, model=of_encoder.get("model") or DEFAULT_MODEL, image_size=size)
    if isinstance(settings, FinetuneSettings):
        return resolve_finetune(settings, image_size=size)
    return resolve_data(settings, size)


def default_cache_size(image_size: int) -> int:
    """Short side in pixels of the images that are cropped to `image_size`."""
    return math.ceil(1.5 * image_size)


def default_workers() -> int:
    """Number of worker processes that decode and load images."""
    return min(_MAX_WORKERS, available_cores())


def default_image_size(data: str) -> int:
    """Image size in pixels for an encoder that does not set one; data: the value of --data."""
    return 64 if data == "synthetic" else 224


def resolved_split_seed(data: DataSettings, seed: int) -> int:
    """Seed of random splits: --split-seed, else `seed`."""
    return seed if data.split_seed is None else data.split_seed
