"""Surgical marker strokes."""

import torch
from torch import Tensor

from gravis_triton.augment.per_sample import PerSampleStep, planes, uniform
from gravis_triton.augment.strokes import stroke_cover

_STROKES = 3
_LONGEST = 1.0  # length of a stroke, in short sides
_WIDEST = 0.06
_VIOLET, _BLUE = (0.50, 0.32, 0.72), (0.30, 0.45, 0.82)  # fraction of light that fresh ink transmits


class RandomMarkerInk(PerSampleStep):
    """Draw one to three strokes of violet to blue skin marker: I (1 - a d (1 - t)).

    a is the coverage, d the ink's density in [0.5, 1], and t its transmittance, between violet (gentian violet)
    and blue: the ink is translucent, so the skin shows through. Strokes are gently curved, 0.2 to 0.8 short sides
    long and 0.014 to 0.06 wide, have soft edges, and lie closer to the border than to the center.

    Input and output are images (batch, 3, height, width) in [0, 1].
    """

    def __init__(self, p: float = 0.5, same_on_batch: bool = False) -> None:
        super().__init__(p=p, same_on_batch=same_on_batch)

    def draw(self, samples: int, height: int, width: int) -> dict[str, Tensor]:
        around = uniform(samples, _STROKES, high=2 * torch.pi)
        out = torch.stack([around.cos(), around.sin()], 2).unsqueeze(2)
        side = torch.stack([-around.sin(), around.cos()], 2).unsqueeze(2)
        extent = torch.tensor([width, height]) / min(height, width)
        middle = extent / 2 + extent * out * uniform(samples, _STROKES, 1, 1, low=0.3, high=0.5)
        tilt = 0.5 * torch.randn(samples, _STROKES, 1, 1)
        along = tilt.cos() * side + tilt.sin() * out  # roughly tangential to a circle around the lesion
        length = uniform(samples, _STROKES, 1, 1, low=0.2, high=0.8)
        position = torch.tensor([-0.5, -1 / 6, 1 / 6, 0.5]).view(1, 1, 4, 1)
        bow = torch.tensor([0.0, 1.0, 1.0, 0.0]).view(1, 1, 4, 1)
        # bent around the center more often than away from it
        bend = uniform(samples, _STROKES, 1, 1, low=-0.1, high=0.25)
        control = middle + length * (position * along - bow * bend * out)
        wide = uniform(samples, _STROKES, 1, low=0.02, high=0.045) * uniform(
            samples, _STROKES, 4, low=0.7, high=_WIDEST / 0.045
        )
        drawn = torch.arange(_STROKES) < torch.randint(1, _STROKES + 1, (samples, 1))
        blue = uniform(samples, 1)
        return {
            "control": control,
            "thickness": wide * drawn.unsqueeze(2),
            "transmittance": torch.tensor(_VIOLET).lerp(torch.tensor(_BLUE), blue),
            "density": uniform(samples, low=0.5, high=1.0),
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
            widest=_WIDEST * short,
            soft=max(1.0, 0.012 * short),
        )
        absorbed = planes(drawn["density"].unsqueeze(1) * (1 - drawn["transmittance"]))
        return images * (1 - cover * absorbed)
