"""A ruler near the border."""

import torch
from torch import Tensor

from gravis_triton.augment.per_sample import PerSampleStep, frame, planes, uniform


class RandomRuler(PerSampleStep):
    """Draw ruler marks, without digits, near one side: I + a o (k - I), with coverage a, opacity o and ink k.

    Marks are perpendicular to a base line along one side, tilted by up to 10 degrees, 0.3 to 0.46 short sides from
    the center. They are 0.035 to 0.11 short sides apart and 0.03 to 0.06 long, every fifth or tenth 1.7 times as long;
    the ink is near black. Half of the rulers show the base line.

    Input and output are images (batch, 3, height, width) in [0, 1].
    """

    def __init__(self, p: float = 0.5, same_on_batch: bool = False) -> None:
        super().__init__(p=p, same_on_batch=same_on_batch)

    def draw(self, samples: int, height: int, width: int) -> dict[str, Tensor]:
        spacing = uniform(samples, low=0.035, high=0.11)
        return {
            "angle": torch.randint(4, (samples,)) * (torch.pi / 2) + uniform(samples, low=-0.17, high=0.17),
            "distance": uniform(samples, low=0.3, high=0.46),
            "spacing": spacing,
            "phase": uniform(samples, high=10.0),
            "every": 5.0 + 5.0 * torch.randint(2, (samples,)),
            "length": uniform(samples, low=0.03, high=0.06),
            "thickness": spacing * uniform(samples, low=0.1, high=0.16),
            "line": torch.randint(2, (samples,)).float(),
            "ink": uniform(samples, low=0.02, high=0.2),
            "opacity": uniform(samples, low=0.6, high=0.9),
        }

    def change(self, images: Tensor, drawn: dict[str, Tensor]) -> Tensor:
        height, width = images.shape[-2:]
        short = min(height, width)
        y, x = frame(images)
        values = {name: value.view(-1, 1, 1) for name, value in drawn.items()}
        cos, sin = values["angle"].cos(), values["angle"].sin()
        x, y = x - width / (2 * short), y - height / (2 * short)
        along = x * cos + y * sin
        inwards = y * cos - x * sin + values["distance"]  # from the base line towards the center
        mark = along / values["spacing"] + values["phase"]
        nearest = mark.round()
        long = (nearest.remainder(values["every"]) == 0).float()
        length = values["length"] * (1 + 0.7 * long)
        half = values["thickness"] / 2
        cover = _ramp(half - (mark - nearest).abs() * values["spacing"], short)
        cover *= _ramp(inwards, short) * _ramp(length - inwards, short)
        torch.maximum(cover, values["line"] * _ramp(half - inwards.abs(), short), out=cover)
        cover *= values["opacity"] * (2 * half * short).clamp(max=1)  # marks thinner than a pixel are fainter
        return images.lerp(planes(drawn["ink"]), cover.unsqueeze(1))


def _ramp(inside: Tensor, short: int) -> Tensor:
    """Coverage of pixels whose centers lie `inside` short sides within an edge: 0 to 1 over one pixel."""
    return (inside * short + 0.5).clamp_(0, 1)
