"""From an image to the input of a network: the one way that training features, evaluation and predictions share."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from gravis_triton.data.cache.pixels import resized_pixels
from gravis_triton.data.datasets.decode import as_upright_image, decode_image, upright_size
from gravis_triton.data.loading.loader import Pixels
from gravis_triton.errors import UserError
from gravis_triton.models.encoder import normalization

ImageLike = str | Path | Image.Image | np.ndarray
"""A file, a PIL image, or (height, width, 3) uint8."""


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How an image becomes the input of a network.

    It is resized to a short side of `cache_size` pixels, as in the image cache, then to a square of `image_size`
    pixels, and normalized by the RGB `mean` and `std`, in [0, 1].
    """

    image_size: int
    cache_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @staticmethod
    def of(encoder: nn.Module, *, image_size: int, cache_size: int) -> "Preprocessing":
        mean, std = normalization(encoder)
        return Preprocessing(image_size, cache_size, mean, std)

    def __call__(self, images: Tensor) -> Tensor:
        """Images (batch, 3, height, width) uint8, as in the cache, to inputs (batch, 3, size, size)."""
        return resize_and_normalize(images, self.image_size, self.mean, self.std)


def resize_and_normalize(images: Tensor, size: int, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Images (batch, 3, height, width) uint8 as squares (batch, 3, size, size) float32, (resized / 255 - mean) / std;
    bilinear, antialiased."""
    resized = F.interpolate(images.float(), (size, size), mode="bilinear", antialias=True)
    shift, scale = (torch.tensor(values, device=images.device).view(3, 1, 1) for values in (mean, std))
    return resized.div_(255).sub_(shift).div_(scale)  # in place: each saves a pass over memory


def open_image(image: ImageLike, short_side: int) -> Pixels:
    """The image, upright, as (height, width, 3) uint8 with the given short side, as in the image cache.

    Raises UserError for a file that cannot be decoded, and for an array of the wrong shape or type.
    """
    try:
        if isinstance(image, str | Path):
            return resized_pixels(decode_image(Path(image), short_side), short_side)
        return resized_pixels(as_upright_image(_image(image)), short_side)
    except (OSError, ValueError) as error:
        raise UserError(f"{_name(image)}: cannot be read as an image ({error})") from error


def native_size(image: ImageLike) -> tuple[int, int]:
    """(height, width) of the image, upright. Raises UserError as `open_image` does."""
    try:
        size = upright_size(Path(image)) if isinstance(image, str | Path) else as_upright_image(_image(image)).size
        return size[1], size[0]
    except (OSError, ValueError) as error:
        raise UserError(f"{_name(image)}: cannot be read as an image ({error})") from error


def _image(image: Image.Image | np.ndarray) -> Image.Image:
    if isinstance(image, Image.Image):
        return image
    if not isinstance(image, np.ndarray):
        raise UserError(f"an image must be a path, a PIL image or an array, not a {type(image).__name__}")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise UserError(f"{_name(image)} is not an image: expected (height, width, 3) uint8")
    return Image.fromarray(image)


def _name(image: ImageLike) -> str:
    if isinstance(image, np.ndarray):
        return f"an array of shape {image.shape} and type {image.dtype}"
    return str(image)
