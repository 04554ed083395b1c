"""From a picture to what a network sees of it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from gravis_triton.data.decode import as_photograph, decode_photograph, upright_size
from gravis_triton.data.loader import Pixels
from gravis_triton.data.resize import resized_pixels
from gravis_triton.errors import UserError
from gravis_triton.models import normalization

Picture = str | Path | Image.Image | np.ndarray
"""A file, a PIL image, or (height, width, 3) uint8."""


@dataclass(frozen=True, slots=True)
class InputSettings:
    """How pictures are made small: first to a short side of `cache_size` pixels, undistorted, as the image cache holds
    them, then to squares of `image_size` pixels; and the RGB mean and standard deviation, in [0, 1], they are
    normalised with."""

    image_size: int
    cache_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @staticmethod
    def of(encoder: nn.Module, *, image_size: int, cache_size: int) -> "InputSettings":
        mean, std = normalization(encoder)
        return InputSettings(image_size, cache_size, mean, std)

    def squares(self, pictures: Tensor) -> Tensor:
        """Pictures (batch, 3, height, width) uint8 as the normalised squares (batch, 3, size, size) of a network."""
        size = (self.image_size, self.image_size)
        pixels = F.interpolate(pictures.float(), size, mode="bilinear", antialias=True) / 255
        mean, std = (torch.tensor(v, device=pictures.device).view(3, 1, 1) for v in (self.mean, self.std))
        return (pixels - mean) / std


def open_picture(picture: Picture, short_side: int) -> Pixels:
    """The picture, upright, as (height, width, 3) uint8 with this short side: as the image cache holds it.

    Raises UserError for a file that cannot be decoded, and for an array that is no picture.
    """
    try:
        if isinstance(picture, str | Path):
            return resized_pixels(decode_photograph(Path(picture), short_side), short_side)
        return resized_pixels(as_photograph(_image(picture)), short_side)
    except (OSError, ValueError) as error:
        raise UserError(f"{picture}: cannot be read as an image ({error})") from error


def native_size(picture: Picture) -> tuple[int, int]:
    """(height, width) of the picture, upright. Raises UserError as `open_picture` does."""
    try:
        if isinstance(picture, str | Path):
            width, height = upright_size(Path(picture))
        else:
            width, height = as_photograph(_image(picture)).size
        return height, width
    except (OSError, ValueError) as error:
        raise UserError(f"{picture}: cannot be read as an image ({error})") from error


def _image(picture: Image.Image | np.ndarray) -> Image.Image:
    if isinstance(picture, Image.Image):
        return picture
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise UserError(
            f"an array of shape {picture.shape} and type {picture.dtype} is no picture: "
            "give (height, width, 3) uint8"
        )
    return Image.fromarray(picture)


def finite(predictions: Tensor) -> Tensor:
    """The predictions of a network; raises UserError where its weights have become useless."""
    if not torch.isfinite(predictions).all():
        raise UserError(
            "the network's predictions are not finite: lower --lr, or train with --mixed-precision bf16 or no"
        )
    return predictions
