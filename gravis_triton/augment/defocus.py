"""Defocus blur."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from gravis_triton.augment.per_sample import PerSampleStep, uniform


class RandomDefocus(PerSampleStep):
    """Blur with a disk, the image of a point out of focus.

    Kernel weights are clamp(r + 1/2 - d, 0, 1), with d the distance from the center in pixels, divided by their sum:
    a disk of radius r with a rim one pixel wide. radius: range of r in pixels; r is uniform. Edges are reflected, as
    in kornia's blurs.

    Images (batch, channels, height, width) of any range, larger than the kernel.
    """

    def __init__(
        self, radius: tuple[float, float] = (1.0, 3.0), p: float = 0.5, same_on_batch: bool = False
    ) -> None:
        super().__init__(p=p, same_on_batch=same_on_batch)
        self.flags = {"radius": radius}

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
