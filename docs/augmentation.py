"""Draw docs/augmentation/, example images of every step and preset: `python docs/augmentation.py`."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import to_pil_image
from torchvision.utils import make_grid

from gravis_triton.data.synthetic.image import render
from gravis_triton.settings.augmentation import PRESETS, ViewSettings
from gravis_triton.views.crop import RandomResizedRotatedCrop
from gravis_triton.views.view_maker import RandomCutout, ViewMaker, photometric_steps

_SIDE = 128  # pixels of a tile
_INDICES = (1, 12, 37, 45)  # synthetic images without artifacts of their own
_SWITCHES = ("hair", "stain", "ink", "ruler", "bubbles", "defocus", "vignette", "illuminant", "constancy", "jitter",
             "grayscale", "blur")  # fmt: skip
"""Steps that are shown on their own, by the names of their settings."""
_NOTHING = ViewSettings(brightness=0, contrast=0, saturation=0, hue=0, grayscale=0, blur=0)
_JITTER = replace(PRESETS["published"], grayscale=0, blur=0)


def write_gallery(directory: Path) -> None:
    """Write STEP.jpg, images above their augmented versions, and PRESET.jpg, with an image and its views per row."""
    directory.mkdir(parents=True, exist_ok=True)
    images = torch.stack([torch.from_numpy(render(0, index, _SIDE).pixels) for index in _INDICES])
    images = images.permute(0, 3, 1, 2)
    shown = images.float() / 255
    for seed, switch in enumerate(_SWITCHES, start=60):
        torch.manual_seed(seed)
        alone: dict[str, Any] = {switch: 1.0}
        recipe = _JITTER if switch == "jitter" else replace(_NOTHING, **alone)
        changed = shown.clone()
        for step in photometric_steps(recipe, _SIDE):
            step.apply_(changed)
        _save(directory / f"{switch}.jpg", torch.cat([shown, changed]), len(_INDICES))
    torch.manual_seed(100)
    crop = RandomResizedRotatedCrop(_SIDE, degrees=180, vertical_flip=0.5)
    _save(directory / "crop.jpg", torch.cat([shown, crop(shown)]), len(_INDICES))
    _save(directory / "cutout.jpg", torch.cat([shown, RandomCutout(3, 1 / 7, 0.5)(shown)]), len(_INDICES))
    for name, recipe in PRESETS.items():
        torch.manual_seed(0)
        maker = ViewMaker(replace(recipe, views=6), size=_SIDE, mean=(0.5,) * 3, std=(0.5,) * 3)
        views = maker(images, torch.full((len(images), 2), _SIDE)) / 2 + 0.5
        rows = torch.cat([shown.unsqueeze(1), views], 1).flatten(0, 1)
        _save(directory / f"{name}.jpg", rows, 7)


def _save(file: Path, tiles: Tensor, columns: int) -> None:
    grid = make_grid(tiles.clamp(0, 1), nrow=columns, padding=2, pad_value=1.0)
    tiled: Image.Image = to_pil_image(grid)
    tiled.save(file, quality=80)


if __name__ == "__main__":
    write_gallery(Path(__file__).with_suffix(""))
