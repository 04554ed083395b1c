"""Settings of the recipes that use an encoder: fine-tuning and evaluation."""

import math
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from gravis_triton.augment.labelled import LabelledRecipe
from gravis_triton.errors import UserError
from gravis_triton.settings.groups import DataSettings, RunSettings, TrainingSettings
from gravis_triton.settings.resolve import chosen_workers


@dataclass(frozen=True, kw_only=True)
class EncoderSettings:
    encoder: str = "random"
    """A directory that pre-training wrote (RUN/encoder), random, imagenet, or hf:OWNER/NAME; for evaluate.py also
    color-histogram, for which nothing is learned."""
    model: str | None = None
    """The timm backbone of a random or imagenet encoder; None: resnet18."""
    image_size: int = 0
    """Side of the square images, in pixels; 0: the encoder's, else 64 for the synthetic images and 224 for others."""


@dataclass(frozen=True, kw_only=True)
class LabelSettings:
    label_fraction: float = 1.0
    """Share of the training labels to use, of every class, whole lesions or patients; part of any larger share."""


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings(RunSettings, EncoderSettings, LabelSettings, DataSettings):
    """Evaluate a frozen encoder by nearest neighbours and a linear probe."""

    tta: bool = False
    """Average the features over the four flips of an image."""


@dataclass(frozen=True, kw_only=True)
class FinetuneSettings(TrainingSettings, LabelledRecipe, EncoderSettings, LabelSettings, DataSettings):
    batch_size: int = 32
    """Labelled images per step and process; fewer where there are fewer."""
    epochs: int = 0
    """Passes over the training images; 0: 6 for the synthetic images, 50 for others."""
    min_steps: int = 200
    """Train in more epochs, where these make fewer steps than this."""
    lr: float = 5e-4
    """Highest learning rate, of decoder or classifier and of the encoder's last layer."""
    layer_decay: float = 1.0
    """Learning rate of each earlier layer of the encoder, as a share of the next one's."""
    freeze_encoder: bool = False
    """Train the decoder or classifier alone."""
    ema: float = 0.0
    """Decay of a moving average of the weights, which is then what is evaluated and saved; 0: none."""
    eval_every: int = 0
    """Epochs between two looks at the validation images, each with a checkpoint; 0: at most ten looks in all."""
    patience: int = 0
    """Stop after so many looks without a better score on the validation images; 0: never."""
    tta: bool = False
    """Average test predictions over the four flips of an image."""


@dataclass(frozen=True, kw_only=True)
class ClassificationSettings(FinetuneSettings):
    """Fine-tune an encoder to tell diseases apart."""

    class_loss: Literal["balanced", "focal", "plain"] = "balanced"
    """Cross-entropy with classes weighed by their rarity, focal loss with these weights, or cross-entropy."""
    dropout: float = 0.0
    """Dropout before the classifier."""


Decoder = Literal["unet", "unetplusplus", "deeplabv3plus", "fpn"]


@dataclass(frozen=True, kw_only=True)
class SegmentationSettings(FinetuneSettings):
    """Fine-tune an encoder to outline lesions."""

    decoder: Decoder = "unet"
    """The decoder on top of the encoder."""


Evaluation = TypeVar("Evaluation", EvaluateSettings, ClassificationSettings, SegmentationSettings)
Finetuning = TypeVar("Finetuning", ClassificationSettings, SegmentationSettings)


def default_image_size(settings: DataSettings) -> int:
    """Side in pixels of the images for an encoder that has none of its own."""
    return 64 if settings.data == "synthetic" else 224


def resolve_evaluation(settings: Evaluation, *, image_size: int) -> Evaluation:
    """Put what is chosen for the user in place of 0 and -1; `image_size` is the opened encoder's."""
    return replace(
        settings,
        image_size=image_size,
        cache_size=settings.cache_size or math.ceil(1.5 * image_size),
        num_workers=chosen_workers(settings.num_workers),
    )


def resolve_finetune(settings: Finetuning, *, image_size: int) -> Finetuning:
    """As `resolve_evaluation`, and the epochs. Raises UserError for a contradiction."""
    if settings.freeze_encoder and settings.layer_decay != 1:
        raise UserError("--layer-decay has no effect with --freeze-encoder: drop one of them")
    resolved = resolve_evaluation(settings, image_size=image_size)
    return replace(resolved, epochs=resolved.epochs or (6 if resolved.data == "synthetic" else 50))
