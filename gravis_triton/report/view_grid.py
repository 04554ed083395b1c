"""A grid of images and their views."""

import io
import math
from pathlib import Path

import torch
from torch import Tensor
from torchvision.utils import make_grid, save_image

from gravis_triton.data.loading.loader import ImageBatch
from gravis_triton.files import atomic_write
from gravis_triton.views import ViewMaker

_MIN_SIZE = 128  # of a view, in pixels


@torch.no_grad()
def save_views(file: Path, batch: ImageBatch, views: ViewMaker, *, rows: int = 8) -> None:
    """Write a grid with one row per image: the image itself, then its views as the encoder sees them;
    small views are enlarged pixel by pixel to at least 128 pixels."""
    images, image_sizes = batch.images[:rows], batch.image_sizes[:rows]
    made = (
        views(images.to(views.mean.device), image_sizes.to(views.mean.device)) * views.std + views.mean
    ).clamp(0, 1)  # (images, views, 3, size, size)
    scale = math.ceil(_MIN_SIZE / made.shape[-1])
    size = scale * made.shape[-1]
    tiles = [
        torch.cat([_fitted(image[:, :height, :width], size).unsqueeze(0), _enlarged(row.cpu(), scale)])
        for image, (height, width), row in zip(images, image_sizes.tolist(), made, strict=True)
    ]
    png = io.BytesIO()
    save_image(make_grid(torch.cat(tiles), nrow=made.shape[1] + 1, padding=2, pad_value=1.0), png, "png")
    atomic_write(file, png.getvalue())


def _enlarged(views: Tensor, scale: int) -> Tensor:
    return views.repeat_interleave(scale, dim=2).repeat_interleave(scale, dim=3)


def _fitted(image: Tensor, size: int) -> Tensor:
    """A uint8 image, undistorted, in the middle of a white (3, size, size) square."""
    scale = size / max(image.shape[1:])
    height, width = (max(1, round(side * scale)) for side in image.shape[1:])
    small = torch.nn.functional.interpolate(
        image[None].float() / 255, (height, width), mode="bilinear", antialias=True
    )
    square = torch.ones(3, size, size)
    top, left = (size - height) // 2, (size - width) // 2
    square[:, top : top + height, left : left + width] = small[0].clamp(0, 1)
    return square
