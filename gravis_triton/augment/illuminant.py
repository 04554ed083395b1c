"""Color constancy and random light colors."""

import torch
from torch import Tensor

from gravis_triton.augment.per_sample import PerSampleStep, planes, uniform


class ShadesOfGray(PerSampleStep):
    """Color constancy: make the Minkowski mean of the image gray (Finlayson and Trezzi 2004).

    The light's color is estimated as e_c = (mean over pixels of I_c^n)^(1 / n), n = `power` (6, the authors' best;
    1 is gray world, infinity is white patch); the output is I_c |e| / (sqrt(3) e_c), clamped to [0, 1]. An image whose
    channels have equal means, such as any gray image, is unchanged. A channel that is 0 everywhere stays 0.

    Input and output are images (batch, 3, height, width) in [0, 1].
    """

    def __init__(self, power: int = 6, p: float = 1.0, same_on_batch: bool = False) -> None:
        super().__init__(p=p, same_on_batch=same_on_batch)
        self.flags = {"power": power}

    def draw(self, samples: int, height: int, width: int) -> dict[str, Tensor]:
        return {}

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

    def __init__(
        self, warmth: float = 0.2, tint: float = 0.08, p: float = 0.5, same_on_batch: bool = False
    ) -> None:
        super().__init__(p=p, same_on_batch=same_on_batch)
        self.flags = {"warmth": warmth, "tint": tint}

    def draw(self, samples: int, height: int, width: int) -> dict[str, Tensor]:
        warm = uniform(samples, low=-self.flags["warmth"], high=self.flags["warmth"])
        green = uniform(samples, low=-self.flags["tint"], high=self.flags["tint"])
        return {"gain": torch.stack([warm - green / 2, green, -warm - green / 2], 1).exp()}

    def change(self, images: Tensor, drawn: dict[str, Tensor]) -> Tensor:
        return (images * planes(drawn["gain"])).clamp_(0, 1)
