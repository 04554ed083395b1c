"""Color jitter and grayscale with kornia's draws and results, at a fraction of the cost on a CPU."""

from typing import Any

import torch
from kornia.augmentation import ColorJitter, RandomGrayscale
from torch import Tensor

from gravis_triton.augment.per_sample import ChosenSamples, planes

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as in kornia and torchvision


class FusedColorJitter(ChosenSamples, ColorJitter):
    """kornia's ColorJitter: brightness, contrast, saturation and hue in random order, clamped to [0, 1] after each.

    With factors b, c, s, hue shift h in turns, and luma Y = 0.299 R + 0.587 G + 0.114 B:
    brightness b I; contrast c I + (1 - c) mean(Y); saturation s I + (1 - s) Y; hue: the HSV hue shifted by h.
    Factors are uniform around 1, hue around 0, drawn per sample; the order of the four is drawn once per call.
    The hue is shifted in closed form, without an HSV image, and all steps work in place, so gradients do not flow.
    """

    def apply_transform(
        self, input: Tensor, params: dict[str, Tensor], flags: dict[str, Any], transform: Tensor | None = None
    ) -> Tensor:
        images, luma = input.clamp_(0, 1), torch.tensor(_LUMA, device=input.device)
        for step in params["order"].tolist():
            if step == 0:
                images.mul_(planes(params["brightness_factor"])).clamp_(0, 1)
            elif step == 1:
                factor = params["contrast_factor"]
                gray = images.mean((2, 3)) @ luma
                images.mul_(planes(factor)).add_(planes((1 - factor) * gray)).clamp_(0, 1)
            elif step == 2:
                factor = planes(params["saturation_factor"])
                gray = _gray(images).mul_(1 - factor)
                images.mul_(factor).add_(gray).clamp_(0, 1)
            else:
                _turn_hue_(images, params["hue_factor"])
        return images


class Grayscale(ChosenSamples, RandomGrayscale):
    """kornia's RandomGrayscale with its default weights, those of the luma Y above: all three channels become Y."""

    def apply_transform(
        self, input: Tensor, params: dict[str, Tensor], flags: dict[str, Any], transform: Tensor | None = None
    ) -> Tensor:
        return _gray(input).expand_as(input)


def _gray(images: Tensor) -> Tensor:
    """The luma (samples, 1, height, width) of images (samples, 3, height, width)."""
    red, green, blue = images.split(1, dim=1)
    return (red * _LUMA[0]).add_(green, alpha=_LUMA[1]).add_(blue, alpha=_LUMA[2])


def _turn_hue_(images: Tensor, turns: Tensor) -> None:
    """Shift the HSV hue of images (samples, 3, height, width) by turns (samples,), in place.

    With maximum M, minimum m, chroma C = M - m and hue H in turns, the new channels are m + C t, where t is
    clamp(6 |H - 1/2| - 1), clamp(2 - 6 |H - 1/3|) and clamp(2 - 6 |H - 2/3|), clamped to [0, 1], for red, green, blue.
    """
    red, green, blue = images.unbind(1)
    high, low = torch.maximum(green, blue), torch.minimum(green, blue)
    most, middle = torch.maximum(red, high), torch.minimum(red, high)
    least = torch.minimum(middle, low)
    chroma = most.sub_(least)
    # H = |k + (middle - low) / 6 C|, k = 0, -1, -1/3 or 2/3 by the order of the channels (ties give the same)
    blue_over_green, other_over_red = _positive(blue - green), _positive(high.sub_(red))
    hue = middle.sub_(low).div_(chroma.mul(6).clamp_(min=1e-12)).sub_(blue_over_green)
    hue.addcmul_(other_over_red, blue_over_green.mul_(2).sub_(1 / 3)).abs_()
    hue.add_(turns.view(-1, 1, 1))
    hue.sub_(hue.floor())
    for channel, (center, slope, offset) in enumerate(((1 / 2, 6, -1), (1 / 3, -6, 2), (2 / 3, -6, 2))):
        share = (hue - center).abs_().mul_(slope).add_(offset).clamp_(0, 1)
        torch.addcmul(least, chroma, share, out=images[:, channel])


def _positive(values: Tensor) -> Tensor:
    """1 for positive values (pixels or their differences), else 0; faster than a comparison on CPUs."""
    return values.mul_(1e30).clamp_(0, 1)
