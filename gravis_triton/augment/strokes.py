"""Curved strokes of any width, anti-aliased, for all samples at once."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

_SPACING = 0.7  # pixels between candidates along and across: a lattice finer than 1/sqrt(2) misses no pixel


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
    """Fraction of each pixel covered by strokes, (samples, 1, height, width) in [0, 1]; the maximum over strokes.

    control: (samples, strokes, 4, 2), control points (x, y) of cubic Bezier curves B(t), in pixels.
    thickness: (samples, strokes, 4), width in pixels at t = 0, 1/3, 2/3, 1, linear in between; 0 draws nothing.
    longest, widest: maximum length and width in pixels, which bound the work; longer or wider strokes are cut.
    soft: pixels over which the edge of a stroke fades.

    A pixel at distance d from a curve of thickness w has coverage clamp((w / 2 - d) / soft + 1 / 2), at most w.
    Distances are to tangents at points at most `_SPACING` apart, which is exact for straight strokes.
    """
    samples, device = len(thickness), control.device
    owner = torch.arange(samples, device=device).repeat_interleave(thickness.shape[1])
    control, thickness = control.flatten(0, 1), thickness.flatten(0, 1)
    if device.type == "cpu":  # on other devices, the selection would force a synchronization
        drawn = thickness.amax(1).nonzero().squeeze(1)
        owner, control, thickness = owner[drawn], control[drawn], thickness[drawn]

    # points along the curves, their normals, and candidate pixels across: (strokes, points, candidates)
    points = max(2, math.ceil(longest / _SPACING) + 1)
    reach = math.ceil((widest / 2 + soft / 2 + 0.71) / _SPACING)  # 0.71: half the diagonal of a pixel
    t = torch.linspace(0, 1, points, device=device)
    across = torch.arange(-reach, reach + 1, device=device) * _SPACING
    bezier = torch.tensor([[1.0, 0, 0, 0], [-3, 3, 0, 0], [3, -6, 3, 0], [-1, 3, -3, 1]], device=device)
    weights = bezier @ control  # of 1, t, t^2 and t^3
    x, y = (torch.stack([t**0, t, t**2, t**3], 1) @ weights).unsqueeze(-1).unbind(-2)
    slope = torch.stack([0 * t, t**0, 2 * t, 3 * t**2], 1) @ weights
    tangent_x, tangent_y = F.normalize(slope, dim=-1).unsqueeze(-1).unbind(-2)
    column, row = (x - tangent_y * across).floor_(), (y + tangent_x * across).floor_()
    distance = ((row + 0.5 - y) * tangent_x).sub_((column + 0.5 - x) * tangent_y).abs_()
    at = (t * 3).clamp(max=3 - 1e-6)
    wide = thickness[:, at.long()].lerp(thickness[:, at.long() + 1], at.frac()).unsqueeze(-1)
    cover = distance.neg_().add_(wide / 2).div_(soft).add_(0.5).clamp_(min=0).minimum(wide.clamp(max=1))

    # pixels outside the image go into a margin of one pixel
    margin_height, margin_width = height + 2, width + 2
    pixel = row.clamp_(-1, height).add_(1).mul_(margin_width).add_(column.clamp_(-1, width).add_(1)).long()
    pixel += (owner * (margin_height * margin_width)).view(-1, 1, 1)
    flat = torch.zeros(samples * margin_height * margin_width, device=device)
    flat.scatter_reduce_(0, pixel.flatten(), cover.flatten(), "amax")
    return flat.view(samples, 1, margin_height, margin_width)[..., 1:-1, 1:-1]
