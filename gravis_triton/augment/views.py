"""K views of every source image, made on the device, from the recipe that GraVIS was published with."""

import math
from dataclasses import dataclass

import torch
from kornia.augmentation import ColorJitter, RandomErasing, RandomGaussianBlur, RandomGrayscale
from torch import Tensor, nn

from gravis_triton.augment.crop import RandomResizedRotatedCrop

_PUBLISHED_SIZE = 224  # pixels; lengths of the published recipe are scaled from here to the image size in use


@dataclass(frozen=True, kw_only=True)
class ViewRecipe:
    """How many views, and how strongly they are augmented; the defaults are the published strengths
    (arXiv 2301.04410 and its released code)."""

    views: int = 4
    """Views made of every source image in a step."""
    crop_scale: float = 0.2
    """Smallest area of a crop, as a share of the image's; the largest is 1."""
    rotation: float = 10.0
    """Largest rotation either way, in degrees."""
    brightness: float = 0.4
    """Half-width of the brightness factor's range around 1."""
    contrast: float = 0.4
    """Half-width of the contrast factor's range around 1."""
    saturation: float = 0.4
    """Half-width of the saturation factor's range around 1."""
    hue: float = 0.1
    """Largest hue shift either way, in turns of the colour wheel."""
    grayscale: float = 0.2
    """Probability of a grey view."""
    blur: float = 0.5
    """Probability of a Gaussian blur."""
    blur_sigma: float = 2.0
    """Largest standard deviation of the blur, in pixels of a 224-pixel view; the smallest is 0.1."""
    flip: float = 0.5
    """Probability of a horizontal mirror image."""
    cutout_holes: int = 3
    """Squares cut out of every view."""
    cutout_side: float = 32.0
    """Side of a cut-out square, in pixels of a 224-pixel view."""


class ViewMaker(nn.Module):
    """Turn uint8 source images into normalised views, drawn independently per view.

    Input: images (sources, 3, height, width) uint8 and extents (sources, 2), the true (height, width) of each image
    on its canvas. Output: (sources, views, 3, size, size) float32, `(pixel / 255 - mean) / std`; cut-out squares are 0,
    the mean colour. Randomness comes from torch's global generator.
    """

    def __init__(
        self, recipe: ViewRecipe, *, size: int, mean: tuple[float, ...], std: tuple[float, ...]
    ) -> None:
        super().__init__()
        self.views = recipe.views
        pixel = size / _PUBLISHED_SIZE
        self.crop = RandomResizedRotatedCrop(
            size, scale=(recipe.crop_scale, 1.0), degrees=recipe.rotation, flip=recipe.flip
        )
        sigma = (0.1 * pixel, max(recipe.blur_sigma, 0.1) * pixel)
        reach = max(1, math.ceil(3 * sigma[1]))
        self.photometry = nn.Sequential(
            ColorJitter(recipe.brightness, recipe.contrast, recipe.saturation, recipe.hue, p=1.0),
            RandomGrayscale(p=recipe.grayscale),
            RandomGaussianBlur((2 * reach + 1, 2 * reach + 1), sigma, p=recipe.blur),
        )
        hole = min(1.0, (recipe.cutout_side / _PUBLISHED_SIZE) ** 2)
        self.cutout = nn.Sequential(
            *(RandomErasing(scale=(hole, hole), ratio=(1.0, 1.0), p=1.0) for _ in range(recipe.cutout_holes))
        )
        self.mean = nn.Buffer(torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.std = nn.Buffer(torch.tensor(std).view(3, 1, 1), persistent=False)

    @torch.no_grad()
    def forward(self, images: Tensor, extents: Tensor) -> Tensor:
        sources = images.shape[0]
        pixels = (images.float() / 255).repeat_interleave(self.views, dim=0)
        views = self.crop(pixels, extents=extents.repeat_interleave(self.views, dim=0))
        views = (self.photometry(views) - self.mean) / self.std
        return self.cutout(views).unflatten(0, (sources, self.views))
