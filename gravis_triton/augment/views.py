"""Random views of each image, generated on the device."""

import math

import torch
from torch import Tensor, nn

from gravis_triton.augment.blur import GaussianBlur
from gravis_triton.augment.bubbles import RandomGelBubbles
from gravis_triton.augment.crop import RandomResizedRotatedCrop
from gravis_triton.augment.cutout import RandomCutout
from gravis_triton.augment.defocus import RandomDefocus
from gravis_triton.augment.hair import RandomHair
from gravis_triton.augment.illuminant import RandomIlluminant, ShadesOfGray
from gravis_triton.augment.ink import RandomMarkerInk
from gravis_triton.augment.jitter import FusedColorJitter, Grayscale
from gravis_triton.augment.per_sample import ChosenSamples
from gravis_triton.augment.ruler import RandomRuler
from gravis_triton.augment.stain import RandomStainShift
from gravis_triton.augment.vignette import RandomVignette
from gravis_triton.settings import ViewSettings

_CPU_VALUES = 2**20  # view values generated at a time on a CPU
_PUBLISHED_SIZE = 224  # pixels; lengths in the settings refer to views of this size


class ViewMaker(nn.Module):
    """Turn uint8 images into normalized views, drawn independently per view.

    Input: images (images, 3, height, width) uint8 and image_sizes (images, 2), the true (height, width) of each image
    on its canvas. Output: (images, views, 3, size, size) float32, `(pixel / 255 - mean) / std`; cut-out squares are 0,
    the mean color. Randomness comes from torch's global generator.

    The steps follow the path from skin to camera: crop, skin (stain), artifacts on it (hair, ink, ruler, bubbles), lens
    (defocus, vignette), light and camera (illuminant, constancy, jitter, grayscale, blur), cutout.
    """

    def __init__(
        self, settings: ViewSettings, *, size: int, mean: tuple[float, ...], std: tuple[float, ...]
    ) -> None:
        super().__init__()
        self.views_per_image, self.size = settings.views, size
        self.crop = RandomResizedRotatedCrop(
            size,
            scale=(settings.crop_scale, 1.0),
            degrees=settings.rotation,
            flip=settings.flip,
            vertical_flip=settings.vertical_flip,
        )
        self.photometry = nn.ModuleList(photometric_steps(settings, size))
        self.cutout = RandomCutout(settings.cutout_holes, min(1.0, settings.cutout_side / _PUBLISHED_SIZE))
        self.mean = nn.Buffer(torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.std = nn.Buffer(torch.tensor(std).view(3, 1, 1), persistent=False)

    @torch.no_grad()
    def forward(self, images: Tensor, image_sizes: Tensor) -> Tensor:
        # a few images at a time on a CPU: reused memory is faster than new memory
        made = torch.empty(len(images), self.views_per_image, 3, self.size, self.size, device=images.device)
        each = max(1, _CPU_VALUES // made[0].numel()) if images.device.type == "cpu" else len(images)
        for some, true_size, into in zip(
            images.split(each), image_sizes.split(each), made.split(each), strict=True
        ):
            views = self.crop.views_of(some.float().div_(255), self.views_per_image, true_size)
            for step in self.photometry:
                assert isinstance(step, ChosenSamples)
                step.apply_(views)
            normalized = torch.sub(views, self.mean, out=into.flatten(0, 1)).div_(self.std)
            self.cutout.apply_(normalized)
        return made


def photometric_steps(settings: ViewSettings, size: int) -> list[ChosenSamples]:
    """The steps between crop and normalization, for views of `size` pixels, without those of probability 0."""
    pixel = size / _PUBLISHED_SIZE
    sigma = (0.1 * pixel, max(settings.blur_sigma, 0.1) * pixel)
    reach = min(max(1, math.ceil(3 * sigma[1])), size - 1)  # edges are reflected at most once
    steps: list[ChosenSamples] = [
        RandomStainShift(p=settings.stain),
        RandomHair(p=settings.hair),
        RandomMarkerInk(p=settings.ink),
        RandomRuler(p=settings.ruler),
        RandomGelBubbles(p=settings.bubbles),
        RandomDefocus((pixel, settings.defocus_radius * pixel), p=settings.defocus),
        RandomVignette(p=settings.vignette),
        RandomIlluminant(p=settings.illuminant),
        ShadesOfGray(p=settings.constancy),
        FusedColorJitter(settings.brightness, settings.contrast, settings.saturation, settings.hue, p=1.0),
        Grayscale(p=settings.grayscale),
        GaussianBlur((2 * reach + 1, 2 * reach + 1), sigma, p=settings.blur),
    ]
    return [step for step in steps if step.p > 0]
