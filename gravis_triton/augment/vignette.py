"""Dark corners."""

import torch
from torch import Tensor

from gravis_triton.augment.per_sample import PerSampleStep, frame, planes, uniform


class RandomVignette(PerSampleStep):
    """Darken the image outside a circle, like the round field of a dermatoscope: I (1 - k s(v)).

    v = clamp((|x - c| - r) / w), s(v) = v^2 (3 - 2 v): inside the radius r nothing changes, beyond r + w the image is
    darkened by k. radius: range of r in short sides; c lies within 0.05 of the center. In half of the samples
    the rim is sharp (w 0.01 to 0.05, k 0.85 to 1: a round field), in the others soft (w 0.2 to 0.5, k 0.4 to 0.9:
    a lens).

    Input and output are images (batch, 3, height, width) in [0, 1].
    """

    def __init__(
        self, radius: tuple[float, float] = (0.4, 0.62), p: float = 0.5, same_on_batch: bool = False
    ) -> None:
        super().__init__(p=p, same_on_batch=same_on_batch)
        self.flags = {"radius": radius}

    def draw(self, samples: int, height: int, width: int) -> dict[str, Tensor]:
        low, high = self.flags["radius"]
        sharp = torch.rand(samples) < 0.5
        return {
            "offset": uniform(samples, 2, low=-0.035, high=0.035),
            "radius": uniform(samples, low=low, high=high),
            "rim": torch.where(
                sharp, uniform(samples, low=0.01, high=0.05), uniform(samples, low=0.2, high=0.5)
            ),
            "darkness": torch.where(
                sharp, uniform(samples, low=0.85, high=1.0), uniform(samples, low=0.4, high=0.9)
            ),
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
