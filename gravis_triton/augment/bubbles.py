"""Gel bubbles and reflections."""

import torch
from torch import Tensor

from gravis_triton.augment.per_sample import PerSampleStep, frame, log_uniform, uniform

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

    def __init__(self, p: float = 0.5, same_on_batch: bool = False) -> None:
        super().__init__(p=p, same_on_batch=same_on_batch)

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
        for center, radius, strength in zip(
            drawn["center"].unbind(1), drawn["radius"].unbind(1), drawn["strength"].unbind(1), strict=True
        ):
            across, down = (
                (axis - at.view(-1, 1, 1)) / radius.view(-1, 1, 1)
                for axis, at in ((x, center[:, 0]), (y, center[:, 1]))
            )
            distance = (across**2 + down**2).sqrt_()
            lit = across * light_x + down * light_y
            spot = ((across - 0.55 * light_x) ** 2 + (down - 0.55 * light_y) ** 2).sqrt_()
            rim = (1 - (distance - 0.92).abs_() / 0.12).clamp_(min=0)
            one = (distance < 1).float().mul_(0.15).addcmul_(rim, lit, value=0.5)
            gain.addcmul_(one.add_((1 - spot / 0.28).clamp_(min=0)), strength.view(-1, 1, 1))
        lit_up = (images + gain.unsqueeze(1)).clamp_(0, 1)
        across = (x - drawn["glint"][:, :, 0, None, None]) / drawn["axes"][:, :, 0, None, None].clamp(1e-6)
        down = (y - drawn["glint"][:, :, 1, None, None]) / drawn["axes"][:, :, 1, None, None].clamp(1e-6)
        cover = (1.5 * (1 - (across**2 + down**2).amin(1, keepdim=True))).clamp_(0, 1)
        return lit_up.lerp(torch.ones((), device=images.device), cover)
