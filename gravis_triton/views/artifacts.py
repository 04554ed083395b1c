"""Artifacts on the skin: hair, marker ink, rulers, gel bubbles, and the strokes they are drawn with."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from gravis_triton.views.per_sample import PerSampleStep, frame, log_uniform, planes, uniform

_POSITIONS = torch.tensor([-0.5, -1 / 6, 1 / 6, 0.5]).view(4, 1)  # of the control points along a straight stroke
_SPACING = 0.7  # pixels between candidates along and across: a lattice finer than 1/sqrt(2) misses no pixel


def stroke_cover(
    control: Tensor, thickness: Tensor, size: Sequence[int], *, longest: float, widest: float, soft: float = 0.0
) -> Tensor:
    """Fraction of each pixel covered by strokes, (samples, 1, height, width) in [0, 1]; the maximum over strokes.

    size: (height, width) in pixels. All other lengths are in short sides.
    control: (samples, strokes, 4, 2), control points (x, y) of cubic Bezier curves B(t).
    thickness: (samples, strokes, 4), width at t = 0, 1/3, 2/3, 1, linear in between; 0 draws nothing.
    longest, widest: maximum length and width, which bound the work; longer or wider strokes are cut.
    soft: length over which the edge of a stroke fades, at least a pixel.

    A pixel at distance d from a curve of thickness w has coverage clamp((w / 2 - d) / soft + 1 / 2), at most w pixels.
    Distances are to tangents at points at most `_SPACING` apart, which is exact for straight strokes.
    """
    height, width = size
    short = min(size)
    longest, widest, soft = longest * short, widest * short, max(1.0, soft * short)  # pixels from here on
    samples, device = len(thickness), control.device
    owner = torch.arange(samples, device=device).repeat_interleave(thickness.shape[1])
    control, thickness = control.flatten(0, 1) * short, thickness.flatten(0, 1) * short
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


_LONGEST_HAIR = 1.4  # length of a hair, in short sides


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
        super().__init__(p, same_on_batch, count=count, thickness=thickness, light=light)

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
        control = middle + length * (_POSITIONS * along + bow.clamp(-0.4, 0.4) * aside)
        root = log_uniform(samples, 1, low=thickness[0], high=thickness[1])
        root = root * uniform(samples, most, low=0.67, high=1.33) * (torch.arange(most) < count)
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
        widest = 1.33 * self.flags["thickness"][1]
        strokes = drawn["control"], drawn["thickness"]
        cover = stroke_cover(*strokes, images.shape[-2:], longest=_LONGEST_HAIR, widest=widest)
        return images.lerp(planes(drawn["color"]), cover * planes(drawn["opacity"]))


_STROKES = 3
_LONGEST_STROKE = 1.0  # length of a stroke, in short sides
_WIDEST = 0.06
_VIOLET, _BLUE = (0.50, 0.32, 0.72), (0.30, 0.45, 0.82)  # fraction of light that fresh ink transmits


class RandomMarkerInk(PerSampleStep):
    """Draw one to three strokes of violet to blue skin marker: I (1 - a d (1 - t)).

    a is the coverage, d the ink's density in [0.5, 1], and t its transmittance, between violet (gentian violet)
    and blue: the ink is translucent, so the skin shows through. Strokes are gently curved, 0.2 to 0.8 short sides
    long and 0.014 to 0.06 wide, have soft edges, and lie closer to the border than to the center.

    Input and output are images (batch, 3, height, width) in [0, 1].
    """

    def draw(self, samples: int, height: int, width: int) -> dict[str, Tensor]:
        around = uniform(samples, _STROKES, high=2 * torch.pi)
        out = torch.stack([around.cos(), around.sin()], 2).unsqueeze(2)
        side = torch.stack([-around.sin(), around.cos()], 2).unsqueeze(2)
        extent = torch.tensor([width, height]) / min(height, width)
        middle = extent / 2 + extent * out * uniform(samples, _STROKES, 1, 1, low=0.3, high=0.5)
        tilt = 0.5 * torch.randn(samples, _STROKES, 1, 1)
        along = tilt.cos() * side + tilt.sin() * out  # roughly tangential to a circle around the lesion
        length = uniform(samples, _STROKES, 1, 1, low=0.2, high=0.8)
        bow = torch.tensor([0.0, 1.0, 1.0, 0.0]).view(1, 1, 4, 1)
        # bent around the center more often than away from it
        bend = uniform(samples, _STROKES, 1, 1, low=-0.1, high=0.25)
        control = middle + length * (_POSITIONS * along - bow * bend * out)
        wide = uniform(samples, _STROKES, 1, low=0.02, high=0.045)
        wide = wide * uniform(samples, _STROKES, 4, low=0.7, high=_WIDEST / 0.045)
        drawn = torch.arange(_STROKES) < torch.randint(1, _STROKES + 1, (samples, 1))
        blue = uniform(samples, 1)
        return {
            "control": control,
            "thickness": wide * drawn.unsqueeze(2),
            "transmittance": torch.tensor(_VIOLET).lerp(torch.tensor(_BLUE), blue),
            "density": uniform(samples, low=0.5, high=1.0),
        }

    def change(self, images: Tensor, drawn: dict[str, Tensor]) -> Tensor:
        strokes = drawn["control"], drawn["thickness"]
        cover = stroke_cover(*strokes, images.shape[-2:], longest=_LONGEST_STROKE, widest=_WIDEST, soft=0.012)
        absorbed = planes(drawn["density"].unsqueeze(1) * (1 - drawn["transmittance"]))
        return images * (1 - cover * absorbed)


class RandomRuler(PerSampleStep):
    """Draw ruler marks, without digits, near one side: I + a o (k - I), with coverage a, opacity o and ink k.

    Marks are perpendicular to a base line along one side, tilted by up to 10 degrees, 0.3 to 0.46 short sides from
    the center. They are 0.035 to 0.11 short sides apart and 0.03 to 0.06 long, every fifth or tenth 1.7 times as long;
    the ink is near black. Half of the rulers show the base line.

    Input and output are images (batch, 3, height, width) in [0, 1].
    """

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


_BUBBLES = 6
_GLINTS = 4


class RandomGelBubbles(PerSampleStep):
    """Add one to six bubbles and up to four reflections to the image.

    A bubble of radius r, lit from direction l, brightens the pixel at offset p = (pixel - center) / r by
        b (0.15 [|p| < 1] + 0.5 rim(|p|) <p, l> + spot(|p - 0.55 l|)),
        rim(q) = clamp(1 - |q - 0.92| / 0.12),  spot(q) = clamp(1 - q / 0.28),
    so its rim is bright towards the light and dark away from it. A reflection is an ellipse that fades into white:
    I + a (1 - I), a = clamp(1.5 (1 - q)), q the squared distance in half-axes.
    Radii are log-uniform from 0.02 to 0.11 short sides, half-axes of reflections from 0.006 to 0.03; the strength b
    is uniform in [0.3, 0.7].

    Images (batch, 3, height, width) in [0, 1]; the output is clamped to [0, 1].
    """

    def draw(self, samples: int, height: int, width: int) -> dict[str, Tensor]:
        extent = torch.tensor([width, height]) / min(height, width)
        light = uniform(samples, high=2 * torch.pi)
        bubbles = torch.arange(_BUBBLES) < torch.randint(1, _BUBBLES + 1, (samples, 1))
        glints = torch.arange(_GLINTS) < torch.randint(0, _GLINTS + 1, (samples, 1))
        return {
            "center": torch.rand(samples, _BUBBLES, 2) * extent,
            "radius": log_uniform(samples, _BUBBLES, low=0.02, high=0.11),
            "strength": uniform(samples, _BUBBLES, low=0.3, high=0.7) * bubbles,
            "light": torch.stack([light.cos(), light.sin()], 1),
            "glint": torch.rand(samples, _GLINTS, 2) * extent,
            "axes": log_uniform(samples, _GLINTS, 2, low=0.006, high=0.03) * glints.unsqueeze(2),
        }

    def change(self, images: Tensor, drawn: dict[str, Tensor]) -> Tensor:
        y, x = frame(images)
        light_x, light_y = drawn["light"].view(-1, 2, 1, 1).unbind(1)
        gain = torch.zeros_like(images[:, 0])
        bubbles = (drawn[name][..., None, None].unbind(1) for name in ("center", "radius", "strength"))
        for center, radius, strength in zip(*bubbles, strict=True):
            across, down = (x - center[:, 0]) / radius, (y - center[:, 1]) / radius
            distance = (across**2 + down**2).sqrt_()
            lit = across * light_x + down * light_y
            spot = ((across - 0.55 * light_x) ** 2 + (down - 0.55 * light_y) ** 2).sqrt_()
            rim = (1 - (distance - 0.92).abs_() / 0.12).clamp_(min=0)
            disk = (distance < 1).float().mul_(0.15).addcmul_(rim, lit, value=0.5)
            gain.addcmul_(disk.add_((1 - spot / 0.28).clamp_(min=0)), strength)
        lit_up = (images + gain.unsqueeze(1)).clamp_(0, 1)
        glint, axes = drawn["glint"][..., None, None], drawn["axes"][..., None, None].clamp(1e-6)
        across, down = (x - glint[:, :, 0]) / axes[:, :, 0], (y - glint[:, :, 1]) / axes[:, :, 1]
        cover = (1.5 * (1 - (across**2 + down**2).amin(1, keepdim=True))).clamp_(0, 1)
        return lit_up.lerp(torch.ones((), device=images.device), cover)
