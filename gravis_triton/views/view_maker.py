"""Random views of images, made on the device: for pre-training, and for fine-tuning with labels or masks."""

import math
from typing import TypeAlias

import torch
from torch import Tensor, nn

from gravis_triton.settings.augmentation import LabeledViewSettings, ViewSettings
from gravis_triton.views.artifacts import RandomGelBubbles, RandomHair, RandomMarkerInk, RandomRuler
from gravis_triton.views.color import FusedColorJitter, Grayscale, RandomIlluminant, RandomStainShift, ShadesOfGray
from gravis_triton.views.crop import RandomResizedRotatedCrop
from gravis_triton.views.lens import GaussianBlur, RandomDefocus, RandomVignette
from gravis_triton.views.per_sample import ChosenSamples, PerSampleStep


class RandomCutout(PerSampleStep):
    """Set `holes` squares to `value` (DeVries and Taylor 2017, arXiv 1708.04552), each like kornia's RandomErasing.

    holes: squares per sample; they may overlap. side: their side as a fraction of the short side, rounded to pixels.
    Squares lie entirely inside the image, at uniform positions. Images may have any range. Masks are unchanged.
    """

    def __init__(
        self, holes: int, side: float, value: float = 0.0, p: float = 1.0, same_on_batch: bool = False
    ) -> None:
        super().__init__(p, same_on_batch, holes=holes, side=side, value=value)

    def draw(self, samples: int, height: int, width: int) -> dict[str, Tensor]:
        room = torch.tensor([height, width]) - self._pixels(height, width) + 1
        corner = torch.rand(samples, self.flags["holes"], 2) * room
        return {"corner": corner.long().minimum(room - 1)}  # (samples, holes, 2) as (y, x)

    def change(self, images: Tensor, drawn: dict[str, Tensor]) -> Tensor:
        side = self._pixels(*images.shape[-2:])
        # a view, (samples, channels, top, left, side, side)
        windows = images.unfold(2, side, 1).unfold(3, side, 1)
        top, left = drawn["corner"].unbind(2)
        sample = torch.arange(len(images), device=images.device).unsqueeze(1)
        windows[sample, :, top, left] = self.flags["value"]
        return images

    def _pixels(self, height: int, width: int) -> int:
        short = min(height, width)
        return min(short, max(1, round(self.flags["side"] * short)))


RGB: TypeAlias = tuple[float, ...]  # a value for each channel
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

    def __init__(self, settings: ViewSettings, *, size: int, mean: RGB, std: RGB, max_crop_scale: float = 1.0) -> None:
        super().__init__()
        self.settings, self.size = settings, size
        self.mean, self.std = _channels(mean), _channels(std)
        self.crop = _crop(settings, size, max_crop_scale)
        self.photometry = nn.ModuleList(photometric_steps(settings, size))
        self.cutout = RandomCutout(settings.cutout_holes, min(1.0, settings.cutout_side / _PUBLISHED_SIZE))

    @torch.no_grad()
    def forward(self, images: Tensor, image_sizes: Tensor) -> Tensor:
        # a few images at a time on a CPU: reused memory is faster than new memory
        made = torch.empty(len(images), self.settings.views, 3, self.size, self.size, device=images.device)
        chunk = max(1, _CPU_VALUES // made[0].numel()) if images.device.type == "cpu" else len(images)
        for some, true_size, into in zip(images.split(chunk), image_sizes.split(chunk), made.split(chunk), strict=True):
            views = self.crop.views_of(some.float().div_(255), self.settings.views, true_size)
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


def _crop(settings: ViewSettings | LabeledViewSettings, size: int, max_scale: float = 1.0) -> RandomResizedRotatedCrop:
    scale = (settings.crop_scale, max_scale)
    return RandomResizedRotatedCrop(
        size, scale, degrees=settings.rotation, flip=settings.flip, vertical_flip=settings.vertical_flip
    )


def _channels(values: RGB) -> nn.Buffer:
    return nn.Buffer(torch.tensor(values).view(3, 1, 1), persistent=False)


class LabeledView(nn.Module):
    """Turn uint8 images into one normalized random view each, and masks into the same crops.

    Input: images (batch, 3, height, width) uint8 and image_sizes (batch, 2), the true (height, width) of each image on
    its canvas; masks (batch, 1, height, width) uint8, 255 for lesion. Output: (batch, 3, size, size) float32,
    `(pixel / 255 - mean) / std`; masks (batch, 1, size, size) float32, 0 or 1.
    Randomness comes from torch's global generator.
    """

    def __init__(self, settings: LabeledViewSettings, *, size: int, mean: RGB, std: RGB) -> None:
        super().__init__()
        self.mean, self.std = _channels(mean), _channels(std)
        self.crop = _crop(settings, size)
        self.jitter = FusedColorJitter(settings.brightness, settings.contrast, settings.saturation, settings.hue, p=1.0)

    @torch.no_grad()
    def forward(self, images: Tensor, image_sizes: Tensor) -> Tensor:
        return self._colored(self.crop(images.float() / 255, image_sizes=image_sizes))

    @torch.no_grad()
    def image_and_mask(self, images: Tensor, image_sizes: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        views, cropped = self.crop.image_and_mask(images.float() / 255, masks, image_sizes=image_sizes)
        return self._colored(views), (cropped > 127).float()

    def _colored(self, views: Tensor) -> Tensor:
        return (self.jitter(views) - self.mean) / self.std
