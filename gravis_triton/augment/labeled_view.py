"""Fine-tuning augmentation: one view of each labeled image, and the same crop of its mask."""

import torch
from torch import Tensor, nn

from gravis_triton.augment.crop import RandomResizedRotatedCrop
from gravis_triton.augment.jitter import FusedColorJitter
from gravis_triton.settings import LabeledViewSettings


class LabeledView(nn.Module):
    """Turn uint8 images into one normalized random view each, and masks into the same crops.

    Input: images (batch, 3, height, width) uint8 and image_sizes (batch, 2), the true (height, width) of each image on
    its canvas; masks (batch, 1, height, width) uint8, 255 for lesion. Output: (batch, 3, size, size) float32,
    `(pixel / 255 - mean) / std`; masks (batch, 1, size, size) float32, 0 or 1.
    Randomness comes from torch's global generator.
    """

    def __init__(
        self, settings: LabeledViewSettings, *, size: int, mean: tuple[float, ...], std: tuple[float, ...]
    ) -> None:
        super().__init__()
        self.crop = RandomResizedRotatedCrop(
            size,
            scale=(settings.crop_scale, 1.0),
            degrees=settings.rotation,
            flip=settings.flip,
            vertical_flip=settings.vertical_flip,
        )
        self.jitter = FusedColorJitter(
            settings.brightness, settings.contrast, settings.saturation, settings.hue, p=1.0
        )
        self.mean = nn.Buffer(torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.std = nn.Buffer(torch.tensor(std).view(3, 1, 1), persistent=False)

    @torch.no_grad()
    def forward(self, images: Tensor, image_sizes: Tensor) -> Tensor:
        return self._colored(self.crop(images.float() / 255, image_sizes=image_sizes))

    @torch.no_grad()
    def image_and_mask(self, images: Tensor, image_sizes: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        views, cropped = self.crop.image_and_mask(images.float() / 255, masks, image_sizes=image_sizes)
        return self._colored(views), (cropped > 127).float()

    def _colored(self, views: Tensor) -> Tensor:
        return (self.jitter(views) - self.mean) / self.std
