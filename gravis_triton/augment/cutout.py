"""Cutout: squares of one value, written in place."""

import torch
from torch import Tensor

from gravis_triton.augment.per_sample import PerSampleStep


class RandomCutout(PerSampleStep):
    """Set `holes` squares to `value` (DeVries and Taylor 2017, arXiv 1708.04552), each like kornia's RandomErasing.

    holes: squares per sample; they may overlap. side: their side as a fraction of the short side, rounded to pixels.
    Squares lie entirely inside the image, at uniform positions. Images may have any range. Masks are unchanged.
    """

    def __init__(
        self, holes: int, side: float, value: float = 0.0, p: float = 1.0, same_on_batch: bool = False
    ) -> None:
        super().__init__(p=p, same_on_batch=same_on_batch)
        self.flags = {"holes": holes, "side": side, "value": value}

    def draw(self, samples: int, height: int, width: int) -> dict[str, Tensor]:
        room = torch.tensor([height, width]) - self._pixels(height, width) + 1
        corner = torch.rand(samples, self.flags["holes"], 2) * room
        return {"corner": corner.long().minimum(room - 1)}  # (samples, holes, 2) as (y, x)

    def change(self, images: Tensor, drawn: dict[str, Tensor]) -> Tensor:
        side = self._pixels(*images.shape[-2:])
        # a view, (samples, channels, top, left, side, side)
        windows = images.unfold(2, side, 1).unfold(3, side, 1)
        top, left = drawn["corner"].unbind(2)
        sample = torch.arange(len(images), device=images.device).unsqueeze(1)
        windows[sample, :, top, left] = self.flags["value"]
        return images

    def _pixels(self, height: int, width: int) -> int:
        short = min(height, width)
        return min(short, max(1, round(self.flags["side"] * short)))
