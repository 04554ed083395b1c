"""Defaults that depend on other settings or on the machine."""

import math
from collections.abc import Mapping
from typing import Any, TypeVar

from gravis_triton.errors import UserError
from gravis_triton.process import available_cores
from gravis_triton.settings.data import DataSettings
from gravis_triton.settings.fields import override
from gravis_triton.settings.jobs import EvaluateSettings, FinetuneSettings, PretrainSettings

Pretraining = TypeVar("Pretraining", bound=PretrainSettings)
Finetuning = TypeVar("Finetuning", bound=FinetuneSettings)

DEFAULT_MODEL = "resnet18"
_MAX_WORKERS = 8


def resolve_pretrain(
    settings: Pretraining, *, model: str = DEFAULT_MODEL, image_size: int | None = None
) -> Pretraining:
    """The settings with defaults in place of None. Raises UserError for conflicting settings.

    model, image_size: those of the opened encoder, if an encoder directory sets them.
    """
    chosen, optimization = settings.model, settings.optimization
    if chosen.pretrained and chosen.encoder not in ("random", "imagenet"):
        raise UserError(f"--pretrained conflicts with --encoder {chosen.encoder}: drop one of them")
    if optimization.total_views is not None and optimization.epochs is not None:
        raise UserError("--total-views and --epochs both set the training length: drop one of them")
    if settings.streaming.steps_per_epoch is not None and not settings.streaming.streaming:
        raise UserError("--steps-per-epoch has no effect without --streaming: drop it")
    if settings.data.columns is not None and settings.streaming.streaming:
        raise UserError("--columns is for tables, but --streaming reads shards: drop one of them")
    if settings.training.eval_every is not None and not settings.training.evaluate:
        raise UserError("--eval-every has no effect with --no-evaluate: drop one of them")
    size = chosen.image_size or image_size or default_image_size(settings.data)
    epochs = optimization.epochs
    if optimization.total_views is None and epochs is None:
        epochs = 8 if settings.data.data == "synthetic" else 100
    resolved = {
        "encoder": "imagenet" if chosen.pretrained else chosen.encoder,
        "pretrained": False,  # now given by the encoder
        "model": chosen.model or model,
        "image_size": size,
        "epochs": epochs,
    }
    return override(settings, resolved | _data(settings.data, size))


def resolve_evaluate(settings: EvaluateSettings, *, image_size: int) -> EvaluateSettings:
    """The settings with defaults in place of None; `image_size` is that of the opened encoder."""
    return override(settings, {"image_size": image_size} | _data(settings.data, image_size))


def resolve_finetune(settings: Finetuning, *, image_size: int) -> Finetuning:
    """The settings with defaults in place of None; `image_size` is that of the opened encoder.

    Raises UserError for conflicting settings.
    """
    if settings.optimization.freeze_encoder and settings.optimization.layer_decay != 1:
        raise UserError("--layer-decay has no effect with --freeze-encoder: drop one of them")
    if settings.optimization.freeze_encoder and settings.optimization.bn_statistics == "batch":
        raise UserError("--bn-statistics batch has no effect with --freeze-encoder: drop one of them")
    epochs = settings.optimization.epochs or (6 if settings.data.data == "synthetic" else 50)
    return override(settings, {"image_size": image_size, "epochs": epochs} | _data(settings.data, image_size))


def complete(settings: Any, saved: Mapping[str, Any]) -> Any:
    """The settings of a training or evaluation job with defaults in place of None, as its run saves them.

    saved: settings that a run has saved; has what the encoder or the machine determines.
    """
    if settings.run.mixed_precision == "auto":
        settings = override(settings, {"mixed_precision": saved.get("mixed_precision", "auto")})
    own = settings.model if isinstance(settings, PretrainSettings) else settings.encoder
    by_name = own.encoder in ("random", "imagenet")
    size = (
        own.image_size or (None if by_name else saved.get("image_size")) or default_image_size(settings.data)
    )
    if isinstance(settings, PretrainSettings):
        model = DEFAULT_MODEL if by_name else saved.get("model") or DEFAULT_MODEL
        return resolve_pretrain(settings, model=model, image_size=size)
    fill = resolve_finetune if isinstance(settings, FinetuneSettings) else resolve_evaluate
    return fill(settings, image_size=size)


def _data(data: DataSettings, image_size: int) -> dict[str, Any]:
    workers = default_workers() if data.num_workers is None else data.num_workers
    return {"cache_size": data.cache_size or default_cache_size(image_size), "num_workers": workers}


def default_cache_size(image_size: int) -> int:
    """Short side in pixels of the images that are cropped to `image_size`."""
    return math.ceil(1.5 * image_size)


def default_workers() -> int:
    """Number of worker processes that decode and load images."""
    return min(_MAX_WORKERS, available_cores())


def default_image_size(data: DataSettings) -> int:
    """Image size in pixels for an encoder that does not set one."""
    return 64 if data.data == "synthetic" else 224


def resolved_split_seed(data: DataSettings, seed: int) -> int:
    """Seed of random splits."""
    return seed if data.split_seed is None else data.split_seed
