"""Random resized crop, rotation and flips as one affine resampling of the image and its mask."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from kornia.augmentation import GeometricAugmentationBase2D
from kornia.constants import Resample
from torch import Tensor

_CANDIDATES = 10  # boxes tried before the fallback, as in torchvision's RandomResizedCrop


class RandomResizedRotatedCrop(GeometricAugmentationBase2D):
    """Crop a random box, rotated about its center and randomly flipped, and resize it to a square.

    The box follows torchvision's RandomResizedCrop: area uniform in `scale` times the image's, aspect ratio
    log-uniform in `ratio`, the first of ten candidates that fits, else the largest box within `ratio`, at a
    random position. Unlike a chain of crop, rotation and flip, this samples pixels once, and corners exposed by the
    rotation show the image outside the box; outside the image, its edge pixels repeat.

    size: side of the square output, in pixels.
    degrees: the angle is uniform in [-degrees, degrees]; 180 allows any angle.
    flip: probability of a horizontal flip (left and right swapped).
    vertical_flip: probability of a vertical flip (top and bottom swapped).

    Input (batch, channels, height, width); output (batch, channels, size, size). If images fill only the
    upper left part of their canvas, `image_sizes` (batch, 2) gives their true (height, width) in pixels; the rest of
    the canvas must repeat the image's edge pixels.

    Images are sampled bilinearly and masks by nearest neighbor, so masks gain no new values. `image_and_mask` and
    kornia's `AugmentationSequential(crop, data_keys=["input", "mask"])` do both.
    `crop(images, params)` with the `_params` of an earlier call repeats that call's geometry, image_sizes included.
    """

    def __init__(
        self,
        size: int,
        scale: tuple[float, float] = (0.2, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        degrees: float = 10.0,
        flip: float = 0.5,
        vertical_flip: float = 0.0,
        same_on_batch: bool = False,
    ) -> None:
        super().__init__(p=1.0, same_on_batch=same_on_batch)
        self.flags = {
            "size": size,
            "scale": scale,
            "ratio": ratio,
            "degrees": degrees,
            "flip": flip,
            "vertical_flip": vertical_flip,
            "resample": Resample.BILINEAR,
        }

    def forward(
        self, input: Tensor, params: dict[str, Tensor] | None = None, image_sizes: Tensor | None = None, **kwargs: Any
    ) -> Tensor:
        if params is None:
            params = self.forward_parameters(input.shape)
        if image_sizes is not None:
            params = {**params, "image_sizes": image_sizes}
        return super().forward(input, params, **kwargs)

    def image_and_mask(
        self, images: Tensor, masks: Tensor, params: dict[str, Tensor] | None = None, image_sizes: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Crop images and their masks at the same places.

        images: (batch, channels, height, width) floating; masks: (batch, any channels, height, width) of any dtype,
        on the same canvas. Returns image crops (batch, channels, size, size) and mask crops in the masks' dtype.
        Raises ValueError if masks and images differ in number or canvas.
        """
        if (len(masks), masks.shape[-2:]) != (len(images), images.shape[-2:]) or masks.ndim != 4:
            raise ValueError(f"masks {tuple(masks.shape)} do not match the images {tuple(images.shape)}")
        views = self(images, params, image_sizes=image_sizes)
        cropped = self.transform_masks(masks.float(), self._params, self.flags, self.transform_matrix)
        return views, cropped.to(masks.dtype)

    def generate_parameters(self, batch_shape: tuple[int, ...]) -> dict[str, Tensor]:
        """Draw the parameters that do not depend on image sizes, all uniform in [0, 1)."""
        draws = 1 if self.same_on_batch else batch_shape[0]
        uniform = torch.rand(draws, 2 * _CANDIDATES + 5).expand(batch_shape[0], -1)
        area, ratio, position = uniform.split([_CANDIDATES, _CANDIDATES, 5], dim=1)
        return {
            "area": area,
            "ratio": ratio,
            "center": position[:, :2],
            "angle": position[:, 2],
            "mirror": position[:, 3],
            "vertical_mirror": position[:, 4],
        }

    def views_of(self, images: Tensor, views: int, image_sizes: Tensor | None = None) -> Tensor:
        """Several crops of each image, drawn independently: (n, channels, height, width) to (n * views, channels, size,
        size). The same as a call on each image repeated `views` times, without the copies."""
        params = self.forward_parameters((len(images) * views, *images.shape[1:]))
        if image_sizes is not None:
            params["image_sizes"] = image_sizes.repeat_interleave(views, dim=0)
        return _sample(images, self._view_to_source(params, images), self.flags["size"], "bilinear")

    def compute_transformation(self, input: Tensor, params: dict[str, Tensor], flags: dict[str, Any]) -> Tensor:
        """The (batch, 3, 3) matrices from canvas pixels to view pixels."""
        matrix = self._view_to_source(params, input)
        return torch.linalg.inv_ex(matrix).inverse  # inv would synchronize, for a check that cannot fail

    def apply_transform(
        self, input: Tensor, params: dict[str, Tensor], flags: dict[str, Any], transform: Tensor | None = None
    ) -> Tensor:
        assert transform is not None  # kornia computes it first
        to_source = torch.linalg.inv_ex(transform.float()).inverse
        return _sample(input, to_source, flags["size"], flags["resample"].name.lower())

    def _view_to_source(self, params: dict[str, Tensor], images: Tensor) -> Tensor:
        """The (batch, 3, 3) matrices from view pixels to canvas pixels, (x, y, 1) each."""
        flags, device = self.flags, images.device
        # kornia's containers add parameters that are not tensors
        params = {name: value.to(device) for name, value in params.items() if isinstance(value, Tensor)}
        batch = len(params["angle"])
        canvas = torch.tensor(images.shape[-2:], device=device).expand(batch, 2)
        image_sizes = params.get("image_sizes", canvas).float()
        box = _first_fitting_box(params["area"], params["ratio"], image_sizes, flags["scale"], flags["ratio"])
        center = box / 2 + params["center"] * (image_sizes - box)  # (batch, 2) as (y, x)
        angle = torch.deg2rad((2 * params["angle"] - 1) * flags["degrees"])
        cos, sin = angle.cos(), angle.sin()
        step_y, step_x = (box / flags["size"]).unbind(1)
        step_x = torch.where(params["mirror"] < flags["flip"], -step_x, step_x)
        step_y = torch.where(params["vertical_mirror"] < flags["vertical_flip"], -step_y, step_y)
        # boxes have continuous coordinates, with pixel centers at +0.5
        linear = torch.stack([cos * step_x, -sin * step_y, sin * step_x, cos * step_y], dim=1)
        middle = torch.full((2, 1), (flags["size"] - 1) / 2, device=device)
        matrix = torch.eye(3, device=device).repeat(batch, 1, 1)
        matrix[:, :2, :2] = linear.view(batch, 2, 2)
        matrix[:, :2, 2:] = center.flip(1).unsqueeze(2) - 0.5 - matrix[:, :2, :2] @ middle
        return matrix


def _sample(images: Tensor, to_source: Tensor, size: int, mode: str) -> Tensor:
    """Views (n * views, channels, size, size) of images (n, channels, height, width), sampled by the matrices
    to_source (n * views, 3, 3) from view to image pixels; outside the canvas, its edge pixels repeat."""
    number, channels, height, width = images.shape
    line = torch.arange(size, device=images.device)
    # x + iy: one complex sum is faster on a CPU than two strided sums
    steps = torch.complex(to_source[:, 0] * (2 / width), to_source[:, 1] * (2 / height))
    right, down, start = steps.view(-1, 3, 1, 1).unbind(1)
    start = start + complex(1 / width - 1, 1 / height - 1)  # grid_sample's canvas spans -1 to 1
    grid = torch.view_as_real(right * line + (down * line.unsqueeze(1) + start))
    pixels = images if images.dtype == torch.float64 else images.float()
    if number == 1:
        pixels = pixels.expand(len(grid), -1, -1, -1)  # no copy, and no transpose of the views
    else:
        grid = grid.view(number, -1, size, 2)
    sampled = F.grid_sample(pixels, grid.to(pixels.dtype), mode=mode, padding_mode="border", align_corners=False)
    views = sampled.view(number, channels, -1, size, size).transpose(1, 2) if number > 1 else sampled
    return views.reshape(-1, channels, size, size).to(images.dtype)


def _first_fitting_box(
    area: Tensor, ratio: Tensor, image_sizes: Tensor, scale: tuple[float, float], ratios: tuple[float, float]
) -> Tensor:
    """Heights and widths (batch, 2), in pixels, of the first candidate box that fits into each image.

    area, ratio: (batch, candidates) uniform draws; image_sizes: (batch, 2) heights and widths.
    """
    log_low, log_high = math.log(ratios[0]), math.log(ratios[1])
    areas = (scale[0] + area * (scale[1] - scale[0])) * image_sizes.prod(1, keepdim=True)
    aspects = torch.exp(log_low + ratio * (log_high - log_low))  # width / height
    boxes = torch.stack([(areas / aspects).sqrt(), (areas * aspects).sqrt()], dim=2)  # (batch, candidates, 2)
    fits = (boxes <= image_sizes.unsqueeze(1)).all(2)
    first = fits.float().argmax(1)
    chosen = boxes[torch.arange(len(boxes), device=boxes.device), first]
    heights, widths = image_sizes.unbind(1)
    largest = torch.stack([torch.minimum(heights, widths / ratios[0]), torch.minimum(widths, heights * ratios[1])], 1)
    return torch.where(fits.any(1, keepdim=True), chosen, largest)
