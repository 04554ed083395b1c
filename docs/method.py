"""Draw docs/method.png, the method in one figure: `python docs/method.py`."""

from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from gravis_kernels.settings import complete_settings
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle
from PIL import Image

from gravis_triton.data.synthetic.image import render
from gravis_triton.settings.augmentation import PRESETS
from gravis_triton.views import ViewMaker

_INDICES = (12, 37, 45)  # of synthetic images
_COLORS = ("#0072b2", "#d55e00", "#009e73")
_PUSH = "#c1272d"
_SIDE = 128  # pixels of a view
_PLANE = {  # (image, view) -> where its embedding is; the anchor is view 0 of image 0
    (0, 0): (12.2, 2.6),
    (0, 1): (13.3, 3.6),
    (0, 2): (10.8, 3.35),
    (0, 3): (12.0, 0.65),
    (1, 0): (14.4, 1.5),
    (1, 1): (15.6, 4.4),
    (2, 0): (8.9, 1.0),
    (2, 1): (9.4, 5.1),
}
_RADIUS = 1.96  # of the circle through the least similar view
_MARGIN = 0.75


def draw() -> Figure:
    """Images, their views, and the embeddings that the loss groups and separates."""
    images = torch.stack([torch.from_numpy(render(0, index, _SIDE).pixels) for index in _INDICES])
    images = images.permute(0, 3, 1, 2)
    torch.manual_seed(3)
    maker = ViewMaker(PRESETS["color-kept"], size=_SIDE, mean=(0.5,) * 3, std=(0.5,) * 3)
    views = maker(images, torch.full((len(images), 2), _SIDE)) / 2 + 0.5
    figure = Figure(figsize=(12, 4.7))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 16.2), ylim=(-0.35, 6.05), aspect="equal")
    axes.axis("off")
    for x, title in ((0.95, "images"), (4.25, "augmented views"), (12.2, "embeddings")):
        axes.text(x, 5.75, title, ha="center", va="center", fontsize=15, weight="bold")
    for image, y in enumerate((4.4, 2.65, 0.9)):
        _thumbnail(axes, (0.95, y), images[image] / 255, 0.72, "0.3")
        for view in range(4):
            _thumbnail(axes, (2.6 + 1.2 * view, y), views[image, view], 0.54, _COLORS[image])
    axes.annotate("", (8.5, 2.65), (7.0, 2.65), arrowprops={"arrowstyle": "-|>", "lw": 2.5, "color": "0.3"})
    axes.text(7.65, 2.95, "encoder", ha="center", fontsize=13)
    _plane(axes, views)
    return figure


def _plane(axes: Axes, views: torch.Tensor) -> None:
    """The anchor, lines to the other views of its image as wide as their attention, and other images pushed out."""
    anchor = np.array(_PLANE[0, 0])
    axes.add_patch(Circle(tuple(anchor), _RADIUS, fill=True, fc="#e6f0f7", ec=_COLORS[0], lw=1.2))
    axes.add_patch(Circle(tuple(anchor), _RADIUS + _MARGIN, fill=False, ec=_PUSH, ls="--", lw=1.6))
    positives = [place for (image, view), place in _PLANE.items() if image == 0 and view > 0]
    similarities = 1 - torch.tensor([np.linalg.norm(anchor - place) / 2 for place in positives])
    weights = torch.softmax(similarities / complete_settings().attention_temperature, 0)
    for place, weight in zip(positives, weights.tolist(), strict=True):
        axes.plot(*zip(anchor, place, strict=True), color=_COLORS[0], lw=24 * weight, alpha=0.55, zorder=2)
        middle = (anchor + place) / 2
        axes.text(
            *middle,
            f"{weight:.2f}",
            ha="center",
            va="center",
            fontsize=11,
            zorder=9,
            bbox={"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.9},
        )
    for (image, view), place in _PLANE.items():
        outward = np.array(place) - anchor
        distance = float(np.linalg.norm(outward))
        if image and distance < _RADIUS + _MARGIN + 0.3:
            start, end = (anchor + outward / distance * (distance + step) for step in (0.2, 1.15))
            axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "lw": 2.5, "color": _PUSH})
        _thumbnail(axes, place, views[image, view], 0.38, _COLORS[image])
    axes.text(12.2, 4.9, "margin", ha="center", va="center", color=_PUSH, fontsize=13)
    axes.text(12.2, 3.9, "attention", ha="center", va="center", color=_COLORS[0], fontsize=13)


def _thumbnail(axes: Axes, center: tuple[float, float], pixels: torch.Tensor, half: float, color: str) -> None:
    x, y = center
    box = (x - half, x + half, y - half, y + half)
    axes.imshow(pixels.clamp(0, 1).permute(1, 2, 0).numpy(), extent=box, zorder=5, aspect="equal")
    axes.add_patch(Rectangle((x - half, y - half), 2 * half, 2 * half, fill=False, ec=color, lw=3, zorder=6))


if __name__ == "__main__":
    with BytesIO() as buffer:
        draw().savefig(buffer, dpi=110)
        Image.open(buffer).convert("RGB").quantize(192).save(Path(__file__).with_suffix(".png"), optimize=True)
