"""Augmentation of views: the probability and strength of every step, and the presets."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from gravis_triton.settings.config import read_yaml, shipped_configs

Probability = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, kw_only=True)
class ViewSettings:
    """Augmented views; the defaults keep the color of the skin. Probability 0 disables a step."""

    augment: str = "color-kept"
    """Preset: color-kept, published, dermoscopy, or a YAML file of `name: value` lines; the flags below override it."""
    views: Annotated[int, Field(ge=2, le=1024)] = 4
    """Number of views per image."""
    crop_scale: Annotated[float, Field(gt=0, le=1)] = 0.2
    """Minimum area of a crop as a fraction of the image."""
    rotation: Annotated[float, Field(ge=0, le=360)] = 10.0
    """Maximum rotation in degrees, in either direction."""
    brightness: Annotated[float, Field(ge=0, le=10)] = 0.2
    """Brightness jitter: the factor is drawn from 1 - x to 1 + x."""
    contrast: Annotated[float, Field(ge=0, le=10)] = 0.2
    """Contrast jitter: the factor is drawn from 1 - x to 1 + x."""
    saturation: Annotated[float, Field(ge=0, le=10)] = 0.2
    """Saturation jitter: the factor is drawn from 1 - x to 1 + x."""
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.02
    """Maximum hue shift in turns of the color wheel, in either direction."""
    grayscale: Probability = 0.0
    """Probability of a grayscale view."""
    blur: Probability = 0.5
    """Probability of Gaussian blur."""
    blur_sigma: Annotated[float, Field(ge=0, le=100)] = 2.0
    """Maximum standard deviation of the blur in pixels of a 224-pixel view; the minimum is 0.1."""
    flip: Probability = 0.5
    """Probability of a horizontal flip."""
    cutout_holes: Annotated[int, Field(ge=0, le=100)] = 3
    """Number of squares cut out of every view."""
    cutout_side: Annotated[float, Field(gt=0, le=1000)] = 32.0
    """Side of a cut-out square in pixels of a 224-pixel view."""
    vertical_flip: Probability = 0.0
    """Probability of a vertical flip."""
    stain: Probability = 0.0
    """Probability of a change in melanin and hemoglobin."""
    hair: Probability = 0.0
    """Probability of drawn hairs."""
    ink: Probability = 0.0
    """Probability of skin marker ink."""
    ruler: Probability = 0.0
    """Probability of ruler marks along one side."""
    bubbles: Probability = 0.0
    """Probability of gel bubbles and reflections."""
    defocus: Probability = 0.0
    """Probability of defocus blur."""
    defocus_radius: Annotated[float, Field(ge=1, le=100)] = 3.0
    """Maximum radius of the defocus blur in pixels of a 224-pixel view; the minimum is 1."""
    vignette: Probability = 0.0
    """Probability of dark corners."""
    illuminant: Probability = 0.0
    """Probability of a change in the color of the light."""
    constancy: Probability = 0.0
    """Probability of shades-of-gray color constancy, applied after all lighting changes."""


@dataclass(frozen=True, kw_only=True)
class LabeledViewSettings:
    """Augmentation of labeled images: any rotation, both flips, and weak color jitter, as color is diagnostic."""

    crop_scale: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Minimum area of a crop as a fraction of the image."""
    rotation: Annotated[float, Field(ge=0, le=360)] = 180.0
    """Maximum rotation in degrees, in either direction."""
    flip: Probability = 0.5
    """Probability of a horizontal flip."""
    vertical_flip: Probability = 0.5
    """Probability of a vertical flip."""
    brightness: Annotated[float, Field(ge=0, le=10)] = 0.2
    """Brightness jitter: the factor is drawn from 1 - x to 1 + x."""
    contrast: Annotated[float, Field(ge=0, le=10)] = 0.2
    """Contrast jitter: the factor is drawn from 1 - x to 1 + x."""
    saturation: Annotated[float, Field(ge=0, le=10)] = 0.2
    """Saturation jitter: the factor is drawn from 1 - x to 1 + x."""
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.02
    """Maximum hue shift in turns of the color wheel, in either direction."""


PRESETS: Mapping[str, ViewSettings] = {
    "color-kept": ViewSettings(),  # found by measurement, docs/results.md
    "published": ViewSettings(
        augment="published", brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, grayscale=0.2
    ),
    "dermoscopy": ViewSettings(augment="dermoscopy", **read_yaml(shipped_configs()["augmentation"])),
}
"""Preset name -> strengths of the steps; the number of views is not part of a preset."""
