"""Color: jitter and grayscale, pigments of the skin, light, and color constancy."""

import torch
from kornia.augmentation import ColorJitter, RandomGrayscale
from torch import Tensor

from gravis_triton.views.per_sample import ChosenSamples, PerSampleStep, planes, uniform

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as in kornia and torchvision


class FusedColorJitter(ChosenSamples, ColorJitter):
    """kornia's ColorJitter: brightness, contrast, saturation and hue in random order, clamped to [0, 1] after each.

    With factors b, c, s, hue shift h in turns, and luma Y = 0.299 R + 0.587 G + 0.114 B:
    brightness b I; contrast c I + (1 - c) mean(Y); saturation s I + (1 - s) Y; hue: the HSV hue shifted by h.
    Factors are uniform around 1, hue around 0, drawn per sample; the order of the four is drawn once per call.
    The hue is shifted in closed form, without an HSV image, and all steps work in place, so gradients do not flow.
    """

    def change(self, images: Tensor, drawn: dict[str, Tensor]) -> Tensor:
        images.clamp_(0, 1)
        luma = torch.tensor(_LUMA, device=images.device)
        for step in drawn["order"].tolist():
            if step == 0:
                images.mul_(planes(drawn["brightness_factor"])).clamp_(0, 1)
            elif step == 1:
                factor = drawn["contrast_factor"]
                gray = images.mean((2, 3)) @ luma
                images.mul_(planes(factor)).add_(planes((1 - factor) * gray)).clamp_(0, 1)
            elif step == 2:
                factor = planes(drawn["saturation_factor"])
                gray = _gray(images).mul_(1 - factor)
                images.mul_(factor).add_(gray).clamp_(0, 1)
            else:
                _turn_hue_(images, drawn["hue_factor"])
        return images


class Grayscale(ChosenSamples, RandomGrayscale):
    """kornia's RandomGrayscale with its default weights, those of the luma Y above: all three channels become Y."""

    def change(self, images: Tensor, drawn: dict[str, Tensor]) -> Tensor:
        return _gray(images).expand_as(images)


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


# Optical density (red, green, blue) of melanin and of hemoglobin, as used with Tsumura et al. 2003; shading is gray.
# They hold for one camera and are approximate for others.
_MELANIN, _HEMOGLOBIN, _SHADING = (0.4143, 0.3570, 0.8372), (0.2988, 0.6838, 0.6657), (1.0, 1.0, 1.0)
_DARKEST = 1 / 255  # minimum intensity, which bounds densities


class RandomStainShift(PerSampleStep):
    """Change the amount of melanin and hemoglobin in the skin, like stain augmentation in pathology.

    Following Tsumura et al. (SIGGRAPH 2003), the density D = -ln(I) of a pixel is a mix D = A q of melanin,
    hemoglobin and shading, the columns of A. Amounts become q_k (1 + a_k) + b_k for the two pigments, shading
    is unchanged, and the output is exp(-A q'), clamped to [0, 1]. Colors shift only as skin colors do: browner or
    paler, redder or less red. The directions in A are approximate.

    scale: a_k is uniform in [-scale, scale]. shift: b_k is uniform in [-shift, shift].

    Input and output are images (batch, 3, height, width) in [0, 1].
    """

    def __init__(self, scale: float = 0.25, shift: float = 0.08, p: float = 0.5, same_on_batch: bool = False) -> None:
        super().__init__(p, same_on_batch, scale=scale, shift=shift)
        mix = torch.tensor([_MELANIN, _HEMOGLOBIN, _SHADING], dtype=torch.float64).T
        self.mix, self.unmix = mix, mix.inverse()

    def draw(self, samples: int, height: int, width: int) -> dict[str, Tensor]:
        scale = 1 + uniform(samples, 2, low=-self.flags["scale"], high=self.flags["scale"])
        shift = uniform(samples, 2, low=-self.flags["shift"], high=self.flags["shift"])
        none = torch.zeros(samples, 1)
        scale, shift = torch.cat([scale, none + 1], 1), torch.cat([shift, none], 1)
        return {
            "matrix": (self.mix @ scale.double().diag_embed() @ self.unmix).float(),  # A diag(1 + a) A^-1
            "offset": (shift.double() @ self.mix.T).float(),
        }

    def change(self, images: Tensor, drawn: dict[str, Tensor]) -> Tensor:
        minus_density = images.clamp(min=_DARKEST).log_().flatten(2)
        mixed = (drawn["matrix"] @ minus_density).view_as(images)
        return mixed.sub_(planes(drawn["offset"])).exp_().clamp_(max=1)


class ShadesOfGray(PerSampleStep):
    """Color constancy: make the Minkowski mean of the image gray (Finlayson and Trezzi 2004).

    The light's color is estimated as e_c = (mean over pixels of I_c^n)^(1 / n), n = `power` (6, the authors' best;
    1 is gray world, infinity is white patch); the output is I_c |e| / (sqrt(3) e_c), clamped to [0, 1]. An image whose
    channels have equal means, such as any gray image, is unchanged. A channel that is 0 everywhere stays 0.

    Input and output are images (batch, 3, height, width) in [0, 1].
    """

    def __init__(self, power: int = 6, p: float = 1.0, same_on_batch: bool = False) -> None:
        super().__init__(p, same_on_batch, power=power)

    def change(self, images: Tensor, drawn: dict[str, Tensor]) -> Tensor:
        power = self.flags["power"]
        # squares and cubes are fast, the sixth power is not
        light = images.square().pow(power / 2).mean((2, 3)).pow(1 / power)
        gain = light.norm(dim=1, keepdim=True) / (3**0.5 * light.clamp_min(1e-6))
        return (images * planes(gain)).clamp_(0, 1)


class RandomIlluminant(PerSampleStep):
    """Change the color of the light: I_c g_c, clamped to [0, 1].

    The log gains (red, green, blue) are (w - m / 2, m, -w - m / 2): w (warm vs. cold) is uniform in [-warmth, warmth],
    and m (green vs. magenta) in [-tint, tint]. Their sum is 0, so the brightness stays about the same. Except for
    clamped pixels, ShadesOfGray undoes it up to one factor for all channels.

    Input and output are images (batch, 3, height, width) in [0, 1].
    """

    def __init__(self, warmth: float = 0.2, tint: float = 0.08, p: float = 0.5, same_on_batch: bool = False) -> None:
        super().__init__(p, same_on_batch, warmth=warmth, tint=tint)

    def draw(self, samples: int, height: int, width: int) -> dict[str, Tensor]:
        warm = uniform(samples, low=-self.flags["warmth"], high=self.flags["warmth"])
        green = uniform(samples, low=-self.flags["tint"], high=self.flags["tint"])
        return {"gain": torch.stack([warm - green / 2, green, -warm - green / 2], 1).exp()}

    def change(self, images: Tensor, drawn: dict[str, Tensor]) -> Tensor:
        return (images * planes(drawn["gain"])).clamp_(0, 1)
