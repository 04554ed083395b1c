"""Hairs on the image."""

import torch
from torch import Tensor

from gravis_triton.augment.per_sample import PerSampleStep, log_uniform, planes, uniform
from gravis_triton.augment.strokes import stroke_cover

_LONGEST = 1.4  # length of a hair, in short sides


class RandomHair(PerSampleStep):
    """Draw curved, tapered hairs on the image: I + a o (h - I), with coverage a, opacity o and hair color h.

    count: minimum and maximum number of hairs per sample, log-uniform. thickness: range of a sample's hair thickness
    at the root, in short sides, log-uniform; each hair varies by up to a third and tapers to a quarter at its tip.
    light: probability that a sample's hairs are light (blond, gray) instead of dark (brown, black).
    Hairs are cubic Bezier curves, 0.3 to 1.2 short sides from end to end, around a common direction; cf. hair
    simulators for testing hair removal (e.g. HairSim, Mirzaalian, Lee and Hamarneh 2014).

    Input and output are images (batch, 3, height, width) in [0, 1].
    """

    def __init__(
        self,
        count: tuple[int, int] = (2, 14),
        thickness: tuple[float, float] = (0.006, 0.014),
        light: float = 0.2,
        p: float = 0.5,
        same_on_batch: bool = False,
    ) -> None:
        super().__init__(p=p, same_on_batch=same_on_batch)
        self.flags = {"count": count, "thickness": thickness, "light": light}

    def draw(self, samples: int, height: int, width: int) -> dict[str, Tensor]:
        (fewest, most), thickness = self.flags["count"], self.flags["thickness"]
        short = min(height, width)
        count = log_uniform(samples, 1, low=fewest, high=most + 1).long()
        heading = uniform(samples, 1, high=2 * torch.pi) + 0.45 * torch.randn(samples, most)
        along = torch.stack([heading.cos(), heading.sin()], 2).unsqueeze(2)  # (samples, hairs, 1, 2)
        aside = torch.stack([-heading.sin(), heading.cos()], 2).unsqueeze(2)
        length = uniform(samples, most, 1, 1, low=0.3, high=1.2)
        middle = torch.rand(samples, most, 1, 2) * torch.tensor([width, height]) / short
        bend = 0.16 * torch.randn(samples, most, 1, 1) + 0.05 * torch.randn(samples, most, 2, 1)
        bow = torch.cat([torch.zeros(samples, most, 1, 1), bend, torch.zeros(samples, most, 1, 1)], 2)
        position = torch.tensor([-0.5, -1 / 6, 1 / 6, 0.5]).view(1, 1, 4, 1)
        control = middle + length * (position * along + bow.clamp(-0.4, 0.4) * aside)
        root = log_uniform(samples, 1, low=thickness[0], high=thickness[1]) * uniform(
            samples, most, low=0.67, high=1.33
        )
        root = root * (torch.arange(most) < count)
        light = (torch.rand(samples, 1) < self.flags["light"]).float()
        dark_hair = uniform(samples, 1, low=0.05, high=0.25) * torch.tensor([1.0, 0.8, 0.65])
        light_hair = uniform(samples, 1, low=0.75, high=0.95) * torch.tensor([1.0, 0.95, 0.85])
        return {
            "control": control,
            "thickness": root.unsqueeze(2) * torch.tensor([1.0, 0.9, 0.65, 0.25]),
            "color": dark_hair.lerp(light_hair, light),
            "opacity": uniform(samples, low=0.7, high=0.95),
        }

    def change(self, images: Tensor, drawn: dict[str, Tensor]) -> Tensor:
        height, width = images.shape[-2:]
        short = min(height, width)
        cover = stroke_cover(
            drawn["control"] * short,
            drawn["thickness"] * short,
            height=height,
            width=width,
            longest=_LONGEST * short,
            widest=1.33 * self.flags["thickness"][1] * short,
        )
        return images.lerp(planes(drawn["color"]), cover * planes(drawn["opacity"]))
