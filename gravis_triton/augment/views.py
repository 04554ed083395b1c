"""K views of every source image, made on the device."""

import math

import torch
from torch import Tensor, nn

from gravis_triton.augment.blur import GaussianBlur
from gravis_triton.augment.bubbles import RandomGelBubbles
from gravis_triton.augment.chosen import ChosenSamples
from gravis_triton.augment.crop import RandomResizedRotatedCrop
from gravis_triton.augment.cutout import RandomCutout
from gravis_triton.augment.defocus import RandomDefocus
from gravis_triton.augment.hair import RandomHair
from gravis_triton.augment.illuminant import RandomIlluminant, ShadesOfGrey
from gravis_triton.augment.ink import RandomMarkerInk
from gravis_triton.augment.jitter import FusedColorJitter, Grayscale
from gravis_triton.augment.recipe import ViewRecipe
from gravis_triton.augment.ruler import RandomRuler
from gravis_triton.augment.stain import RandomStainShift
from gravis_triton.augment.vignette import RandomVignette

_CPU_VALUES = 2**20  # values of views made at a time on a CPU
_PUBLISHED_SIZE = 224  # pixels; lengths of a recipe are scaled from here to the image size in use


class ViewMaker(nn.Module):
    """Turn uint8 source images into normalised views, drawn independently per view.

    Input: images (sources, 3, height, width) uint8 and extents (sources, 2), the true (height, width) of each image
    on its canvas. Output: (sources, views, 3, size, size) float32, `(pixel / 255 - mean) / std`; cut-out squares are 0,
    the mean colour. Randomness comes from torch's global generator.

    Steps come in the order in which light meets their causes: crop, skin (stain), what lies on it (hair, ink, ruler,
    bubbles), lens (defocus, vignette), light and camera (illuminant, constancy, jitter, grayscale, blur), cutout.
    """

    def __init__(
        self, recipe: ViewRecipe, *, size: int, mean: tuple[float, ...], std: tuple[float, ...]
    ) -> None:
        super().__init__()
        self.views = recipe.views
        self.crop = RandomResizedRotatedCrop(
            size,
            scale=(recipe.crop_scale, 1.0),
            degrees=recipe.rotation,
            flip=recipe.flip,
            vertical_flip=recipe.vertical_flip,
        )
        self.photometry = nn.ModuleList(photometric_steps(recipe, size))
        self.cutout = RandomCutout(recipe.cutout_holes, min(1.0, recipe.cutout_side / _PUBLISHED_SIZE))
        self.mean = nn.Buffer(torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.std = nn.Buffer(torch.tensor(std).view(3, 1, 1), persistent=False)

    @torch.no_grad()
    def forward(self, images: Tensor, extents: Tensor) -> Tensor:
        # a few sources at a time on a CPU: memory that is used again is faster than new memory
        size = self.crop.flags["size"]
        made = torch.empty(len(images), self.views, 3, size, size, device=images.device)
        each = max(1, _CPU_VALUES // made[0].numel()) if images.device.type == "cpu" else len(images)
        for some, true_size, into in zip(
            images.split(each), extents.split(each), made.split(each), strict=True
        ):
            views = self.crop.views_of(some.float().div_(255), self.views, true_size)
            for step in self.photometry:
                assert isinstance(step, ChosenSamples)
                step.apply_(views)
            normalised = torch.sub(views, self.mean, out=into.flatten(0, 1)).div_(self.std)
            self.cutout.apply_(normalised)
        return made


def photometric_steps(recipe: ViewRecipe, size: int) -> list[ChosenSamples]:
    """The recipe's steps between crop and normalisation, for views of `size` pixels, without those of probability 0."""
    pixel = size / _PUBLISHED_SIZE
    sigma = (0.1 * pixel, max(recipe.blur_sigma, 0.1) * pixel)
    reach = max(1, math.ceil(3 * sigma[1]))
    steps: list[ChosenSamples] = [
        RandomStainShift(p=recipe.stain),
        RandomHair(p=recipe.hair),
        RandomMarkerInk(p=recipe.ink),
        RandomRuler(p=recipe.ruler),
        RandomGelBubbles(p=recipe.bubbles),
        RandomDefocus((pixel, recipe.defocus_radius * pixel), p=recipe.defocus),
        RandomVignette(p=recipe.vignette),
        RandomIlluminant(p=recipe.illuminant),
        ShadesOfGrey(p=recipe.constancy),
        FusedColorJitter(recipe.brightness, recipe.contrast, recipe.saturation, recipe.hue, p=1.0),
        Grayscale(p=recipe.grayscale),
        GaussianBlur((2 * reach + 1, 2 * reach + 1), sigma, p=recipe.blur),
    ]
    return [step for step in steps if step.p > 0]
