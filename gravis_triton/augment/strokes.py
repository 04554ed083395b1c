"""Curved strokes of any width, anti-aliased, for all samples at once."""

import math

import torch
from torch import Tensor

_SPACING = (
    0.7  # pixels between candidates along and across a stroke: a lattice below 1/sqrt(2) misses no pixel
)


def stroke_cover(
    control: Tensor,
    thickness: Tensor,
    *,
    height: int,
    width: int,
    longest: float,
    widest: float,
    soft: float = 1.0,
) -> Tensor:
    """Share of each pixel that strokes cover, (samples, 1, height, width) in [0, 1]; the most that any stroke does.

    control: (samples, strokes, 4, 2), control points (x, y) of cubic Bezier curves B(t), in pixels.
    thickness: (samples, strokes, 4), pixels across at t = 0, 1/3, 2/3, 1, linear in between; 0 draws nothing.
    longest, widest: no curve is longer, no stroke wider, in pixels: they bound the work, drawing is cut there.
    soft: pixels over which the rim of a stroke fades.

    A pixel at distance d from a curve of thickness w is covered by clamp((w / 2 - d) / soft + 1 / 2), at most by w.
    Distances are perpendicular to the nearest of points `_SPACING` apart, which is exact for straight strokes.
    """
    samples = len(thickness)
    points = max(2, math.ceil(longest / _SPACING) + 1)
    reach = math.ceil(
        (widest / 2 + soft / 2 + 0.71) / _SPACING
    )  # 0.71: a candidate rounds to its pixel's centre
    t = torch.linspace(0, 1, points, device=control.device)
    across = torch.arange(-reach, reach + 1, device=control.device) * _SPACING
    powers = torch.stack([t**0, t, t**2, t**3], 1)
    bezier = torch.tensor(
        [[1.0, 0, 0, 0], [-3, 3, 0, 0], [3, -6, 3, 0], [-1, 3, -3, 1]], device=control.device
    )
    slopes = torch.stack([0 * t, t**0, 2 * t, 3 * t**2], 1)
    x, y = (powers @ bezier @ control).unsqueeze(-1).unbind(-2)  # (samples, strokes, points, 1)
    slope = slopes @ bezier @ control
    tangent_x, tangent_y = torch.nn.functional.normalize(slope, dim=-1).unsqueeze(-1).unbind(-2)
    normal_x, normal_y = -tangent_y, tangent_x
    column, row = (x + normal_x * across).floor(), (y + normal_y * across).floor()
    distance = ((column + 0.5 - x) * normal_x + (row + 0.5 - y) * normal_y).abs_()
    at = (t * 3).clamp(max=3 - 1e-6)
    wide = thickness[..., at.long()].lerp(thickness[..., at.long() + 1], at.frac()).unsqueeze(-1)
    cover = distance.neg_().add_(wide / 2).div_(soft).add_(0.5).clamp_(min=0).minimum(wide.clamp(max=1))
    seen = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    canvas = torch.arange(samples, device=control.device).view(-1, 1, 1, 1) * (height * width)
    pixel = torch.where(seen, row * width + column, 0.0).long() + canvas
    flat = torch.zeros(samples * height * width, device=control.device)
    flat.scatter_reduce_(0, pixel.flatten(), (cover * seen).flatten(), "amax")
    return flat.view(samples, 1, height, width)
