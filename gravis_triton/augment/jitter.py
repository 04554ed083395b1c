"""Colour jitter: kornia's, with the same draws and results, at about a quarter of its cost on a CPU."""

from typing import Any

import torch
from kornia.augmentation import ColorJitter
from torch import Tensor

from gravis_triton.augment.chosen import ChosenSamples, planes

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as kornia and torchvision have it


class FusedColorJitter(ChosenSamples, ColorJitter):
    """Brightness, contrast, saturation and hue in a random order, clamped to [0, 1] after each: kornia's ColorJitter.

    With factors b, c, s and turns h, luma Y = 0.299 R + 0.587 G + 0.114 B:
    brightness b I; contrast c I + (1 - c) mean(Y); saturation s I + (1 - s) Y; hue: the HSV hue moved by h turns.
    Factors are uniform around 1, hue around 0, drawn per sample; the order of the four is drawn once per call.
    The hue is moved in closed form, without an HSV image, and all steps work in place; hence no gradient passes.
    """

    def apply_transform(
        self, input: Tensor, params: dict[str, Tensor], flags: dict[str, Any], transform: Tensor | None = None
    ) -> Tensor:
        images = input.clamp(0, 1)
        luma = torch.tensor(_LUMA, device=input.device)
        for step in params["order"].tolist():
            if step == 0:
                images.mul_(planes(params["brightness_factor"])).clamp_(0, 1)
            elif step == 1:
                factor = params["contrast_factor"]
                grey = images.mean((2, 3)) @ luma
                images.mul_(planes(factor)).add_(planes((1 - factor) * grey)).clamp_(0, 1)
            elif step == 2:
                factor = planes(params["saturation_factor"])
                red, green, blue = images.unbind(1)
                grey = (red * _LUMA[0]).add_(green, alpha=_LUMA[1]).add_(blue, alpha=_LUMA[2])
                images.mul_(factor).add_(grey.unsqueeze(1).mul_(1 - factor)).clamp_(0, 1)
            else:
                _turn_hue_(images, params["hue_factor"])
        return images


def _turn_hue_(images: Tensor, turns: Tensor) -> None:
    """Move the HSV hue of images (samples, 3, height, width) by turns (samples,), in place.

    With maximum M, minimum m, chroma C = M - m and hue H in sixths of a turn, the new channels are
    m + C clamp(|H - 3| - 1), m + C clamp(2 - |H - 2|), m + C clamp(2 - |H - 4|), clamped to [0, 1].
    """
    red, green, blue = images.unbind(1)
    most = torch.maximum(red, green)
    least = torch.minimum(red, green)
    hue = torch.where(green >= red, blue - red, green - blue)  # numerators; the wrong ones are replaced below
    sector = (green >= red).to(images.dtype).mul_(2)
    of_blue = blue > most
    hue = torch.where(of_blue, red - green, hue)
    sector.masked_fill_(of_blue, 4)
    torch.maximum(most, blue, out=most)
    torch.minimum(least, blue, out=least)
    chroma = most.sub_(least)
    hue.div_(chroma.clamp_min(1e-12)).add_(sector)
    hue.mul_(1 / 6).add_(turns.view(-1, 1, 1))
    hue.sub_(hue.floor()).mul_(6)
    for channel, (centre, sign, offset) in enumerate(((3, 1, -1), (2, -1, 2), (4, -1, 2))):
        share = (hue - centre).abs_()
        if sign < 0:
            share.neg_()
        torch.addcmul(least, chroma, share.add_(offset).clamp_(0, 1), out=images[:, channel])
