"""One view of every labelled image, its mask cropped alike: the augmentation of fine-tuning."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gravis_triton.augment.crop import RandomResizedRotatedCrop
from gravis_triton.augment.jitter import FusedColorJitter


@dataclass(frozen=True, kw_only=True)
class LabelledRecipe:
    """How strongly labelled images are augmented: dermoscopy has no up, so any angle and both flips; colour tells
    diseases apart, so it changes little."""

    crop_scale: float = 0.5
    """Smallest area of a crop, as a share of the image's; the largest is 1."""
    rotation: float = 180.0
    """Largest rotation either way, in degrees."""
    flip: float = 0.5
    """Probability of a horizontal mirror image."""
    vertical_flip: float = 0.5
    """Probability of a vertical mirror image."""
    brightness: float = 0.2
    """Half-width of the brightness factor's range around 1."""
    contrast: float = 0.2
    """Half-width of the contrast factor's range around 1."""
    saturation: float = 0.2
    """Half-width of the saturation factor's range around 1."""
    hue: float = 0.02
    """Largest hue shift either way, in turns of the colour wheel."""


class LabelledView(nn.Module):
    """Turn uint8 images into one normalised random view each, and masks into the same crops.

    Input: images (batch, 3, height, width) uint8 and extents (batch, 2), the true (height, width) of each image on its
    canvas; masks (batch, 1, height, width) uint8, 255 where lesion. Output: (batch, 3, size, size) float32,
    `(pixel / 255 - mean) / std`; masks (batch, 1, size, size) float32, 0 or 1.
    Randomness comes from torch's global generator.
    """

    def __init__(
        self, recipe: LabelledRecipe, *, size: int, mean: tuple[float, ...], std: tuple[float, ...]
    ) -> None:
        super().__init__()
        self.crop = RandomResizedRotatedCrop(
            size,
            scale=(recipe.crop_scale, 1.0),
            degrees=recipe.rotation,
            flip=recipe.flip,
            vertical_flip=recipe.vertical_flip,
        )
        self.jitter = FusedColorJitter(
            recipe.brightness, recipe.contrast, recipe.saturation, recipe.hue, p=1.0
        )
        self.mean = nn.Buffer(torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.std = nn.Buffer(torch.tensor(std).view(3, 1, 1), persistent=False)

    @torch.no_grad()
    def forward(self, images: Tensor, extents: Tensor) -> Tensor:
        return self._coloured(self.crop(images.float() / 255, extents=extents))

    @torch.no_grad()
    def image_and_mask(self, images: Tensor, extents: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        views, cropped = self.crop.image_and_mask(images.float() / 255, masks, extents=extents)
        return self._coloured(views), (cropped > 127).float()

    def _coloured(self, views: Tensor) -> Tensor:
        return (self.jitter(views) - self.mean) / self.std
