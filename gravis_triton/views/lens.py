"""The lens: Gaussian blur, defocus and dark corners."""

import math

import torch
import torch.nn.functional as F
from kornia.augmentation import RandomGaussianBlur
from kornia.filters.kernels import get_gaussian_kernel1d
from torch import Tensor

from gravis_triton.views.per_sample import ChosenSamples, PerSampleStep, frame, planes, uniform

_NEGLIGIBLE = 1e-7  # smaller weights change a float32 image in [0, 1] by no more than rounding


class GaussianBlur(ChosenSamples, RandomGaussianBlur):
    """kornia's RandomGaussianBlur, with the same draws and results, on the chosen samples only.

    kernel_size: (y, x) in pixels, odd, at most 2 * side - 1 of the images, as edges are reflected only once.
    On a CPU, each sample is blurred in place by summing shifted copies, without the taps whose weight for its sigma
    is below 1e-7. Other devices use kornia's convolutions, since dropping taps there would force a synchronization.
    """

    def change(self, images: Tensor, drawn: dict[str, Tensor]) -> Tensor:
        if images.device.type != "cpu":
            return self.apply_transform(images, drawn, self.flags)
        sigma = drawn["sigma"].unsqueeze(1)
        along_y, along_x = (get_gaussian_kernel1d(size, sigma).tolist() for size in self.flags["kernel_size"])
        for image, weights_y, weights_x in zip(images, along_y, along_x, strict=True):
            _blur_(image, _needed(weights_y), _needed(weights_x))
        return images


def _needed(weights: list[float]) -> list[float]:
    """The weights of a symmetric kernel without the negligible ones at its ends."""
    negligible = sum(weight < _NEGLIGIBLE for weight in weights[: len(weights) // 2])
    return weights[negligible : len(weights) - negligible]


def _blur_(image: Tensor, weights_y: list[float], weights_x: list[float]) -> None:
    """Convolve an image (channels, height, width), reflected at its edges, along both axes, in place."""
    reach_y, reach_x = len(weights_y) // 2, len(weights_x) // 2
    padded = F.pad(image.unsqueeze(0), [reach_x, reach_x, reach_y, reach_y], mode="reflect").squeeze(0)
    blurred = torch.empty_like(padded[:, : image.shape[1]])
    _add_up_shifted(padded, 1, weights_y, blurred)
    _add_up_shifted(blurred, 2, weights_x, image)


def _add_up_shifted(image: Tensor, dim: int, weights: list[float], out: Tensor) -> None:
    """Set `out` to the sum of weights[i] * image[i : i + length] along an axis, where `length` is that of `out`."""
    length = out.shape[dim]
    torch.mul(image.narrow(dim, 0, length), weights[0], out=out)
    for start, weight in enumerate(weights[1:], 1):
        out.add_(image.narrow(dim, start, length), alpha=weight)


class RandomDefocus(PerSampleStep):
    """Blur with a disk, the image of a point out of focus.

    Kernel weights are clamp(r + 1/2 - d, 0, 1), with d the distance from the center in pixels, divided by their sum:
    a disk of radius r with a rim one pixel wide. radius: range of r in pixels; r is uniform. Edges are reflected, as
    in kornia's blurs.

    Images (batch, channels, height, width) of any range, larger than the kernel.
    """

    def __init__(self, radius: tuple[float, float] = (1.0, 3.0), p: float = 0.5, same_on_batch: bool = False) -> None:
        super().__init__(p, same_on_batch, radius=radius)

    def draw(self, samples: int, height: int, width: int) -> dict[str, Tensor]:
        low, high = self.flags["radius"]
        return {"radius": uniform(samples, low=low, high=high)}

    def change(self, images: Tensor, drawn: dict[str, Tensor]) -> Tensor:
        reach = math.ceil(self.flags["radius"][1] + 0.5) - 1  # weights are positive up to here
        line = torch.arange(-reach, reach + 1, device=images.device)
        distance = torch.hypot(line.view(-1, 1).float(), line.float())
        kernel = (drawn["radius"].view(-1, 1, 1) + 0.5 - distance).clamp_(0, 1)
        kernel /= kernel.sum((1, 2), keepdim=True)
        samples, channels = images.shape[:2]
        padded = F.pad(images, [reach] * 4, mode="reflect").flatten(0, 1).unsqueeze(0)
        weights = kernel.repeat_interleave(channels, 0).unsqueeze(1)
        return F.conv2d(padded, weights, groups=samples * channels).view_as(images)


class RandomVignette(PerSampleStep):
    """Darken the image outside a circle, like the round field of a dermatoscope: I (1 - k s(v)).

    v = clamp((|x - c| - r) / w), s(v) = v^2 (3 - 2 v): inside the radius r nothing changes, beyond r + w the image is
    darkened by k. radius: range of r in short sides; c lies within 0.05 of the center. In half of the samples
    the rim is sharp (w 0.01 to 0.05, k 0.85 to 1: a round field), in the others soft (w 0.2 to 0.5, k 0.4 to 0.9:
    a lens).

    Input and output are images (batch, 3, height, width) in [0, 1].
    """

    def __init__(self, radius: tuple[float, float] = (0.4, 0.62), p: float = 0.5, same_on_batch: bool = False) -> None:
        super().__init__(p, same_on_batch, radius=radius)

    def draw(self, samples: int, height: int, width: int) -> dict[str, Tensor]:
        low, high = self.flags["radius"]
        sharp = torch.rand(samples) < 0.5
        return {
            "offset": uniform(samples, 2, low=-0.035, high=0.035),
            "radius": uniform(samples, low=low, high=high),
            "rim": torch.where(sharp, uniform(samples, low=0.01, high=0.05), uniform(samples, low=0.2, high=0.5)),
            "darkness": torch.where(sharp, uniform(samples, low=0.85, high=1.0), uniform(samples, low=0.4, high=0.9)),
        }

    def change(self, images: Tensor, drawn: dict[str, Tensor]) -> Tensor:
        height, width = images.shape[-2:]
        short = min(height, width)
        y, x = frame(images)
        offset_x, offset_y = drawn["offset"].view(-1, 2, 1, 1).unbind(1)
        across, down = x - width / (2 * short) - offset_x, y - height / (2 * short) - offset_y
        distance = (across**2 + down**2).sqrt_().unsqueeze(1)
        beyond = distance.sub_(planes(drawn["radius"])).div_(planes(drawn["rim"])).clamp_(0, 1)
        shade = beyond.square().mul_(3 - 2 * beyond)
        return images * (1 - planes(drawn["darkness"]) * shade)
