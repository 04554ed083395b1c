"""Random changes of the melanin and hemoglobin in the skin."""

import torch
from torch import Tensor

from gravis_triton.augment.per_sample import PerSampleStep, planes, uniform

# Optical density (red, green, blue) of melanin and of hemoglobin, as used with Tsumura et al. 2003; shading is gray.
# They hold for one camera and are approximate for others.
_MELANIN, _HAEMOGLOBIN, _SHADING = (0.4143, 0.3570, 0.8372), (0.2988, 0.6838, 0.6657), (1.0, 1.0, 1.0)
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

    def __init__(
        self, scale: float = 0.25, shift: float = 0.08, p: float = 0.5, same_on_batch: bool = False
    ) -> None:
        super().__init__(p=p, same_on_batch=same_on_batch)
        self.flags = {"scale": scale, "shift": shift}
        mix = torch.tensor([_MELANIN, _HAEMOGLOBIN, _SHADING], dtype=torch.float64).T
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
