"""One synthetic dermoscopic image, from (seed, index) to pixels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gravis_triton.data.datasets.synthetic import artifacts
from gravis_triton.data.datasets.synthetic.canvas import Array, Canvas, canvas_of, lattice_noise
from gravis_triton.data.datasets.synthetic.lesion import Lesion, outline, pigment
from gravis_triton.data.datasets.synthetic.skin import MELANIN, paint_skin
from gravis_triton.data.datasets.synthetic.structures import modulation, overlays
from gravis_triton.data.datasets.synthetic.traits import Traits, draw_traits, label_of, stream
from gravis_triton.errors import UserError

# Small images are drawn at least this large and averaged down, so that fine structures do not alias.
_FINEST = 128


@dataclass(frozen=True)
class SyntheticImage:
    """pixels (size, size, 3) uint8 RGB; mask (size, size) uint8, 255 in the lesion, else 0; label."""

    pixels: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    label: int


def render(seed: int, index: int, size: int) -> SyntheticImage:
    """Image `index` of the collection `seed`, `size` pixels per side; the same scene at every size.

    Raises UserError for a negative seed or index and for a size below 16.
    """
    canvas, traits, lesion = _scene(seed, index, size)
    density = paint_skin(canvas, stream(seed, index, 4)).reshape(-1, 3)
    flat = np.exp(-density)
    flat[lesion.where] = _paint(lesion, flat, traits, stream(seed, index, 5), stream(seed, index, 6))
    image = flat.reshape(canvas.size, canvas.size, 3)

    rng = stream(seed, index, 8)
    artifacts.add_hairs(image, canvas, rng)
    artifacts.add_ruler(image, canvas, rng)
    artifacts.add_bubbles(image, canvas, rng)
    image = artifacts.shine(image, canvas, stream(seed, index, 9))
    image += 0.012 * lattice_noise(canvas, stream(seed, index, 10), _FINEST)[..., None]
    return SyntheticImage(
        pixels=np.rint(255 * np.clip(_average(image, size), 0, 1)).astype(np.uint8),
        mask=_mask(canvas, lesion, size),
        label=label_of(seed, index),
    )


def render_mask(seed: int, index: int, size: int) -> NDArray[np.uint8]:
    """Only the mask of what `render` draws, in a small part of the time."""
    canvas, _, lesion = _scene(seed, index, size)
    return _mask(canvas, lesion, size)


def _scene(seed: int, index: int, size: int) -> tuple[Canvas, Traits, Lesion]:
    if seed < 0 or index < 0:
        raise UserError(f"synthetic images need seed and index >= 0, got seed {seed}, index {index}")
    if size < 16:
        raise UserError(f"synthetic images need a size of at least 16 pixels, got {size}")
    canvas = canvas_of(size * -(-_FINEST // size))
    traits = draw_traits(label_of(seed, index), stream(seed, index, 1))
    return canvas, traits, outline(canvas, traits, stream(seed, index, 2), stream(seed, index, 3))


def _mask(canvas: Canvas, lesion: Lesion, size: int) -> NDArray[np.uint8]:
    inside = np.zeros(canvas.size**2, np.float32)
    inside[lesion.where] = lesion.depth > 0
    share = _average(inside.reshape(canvas.size, -1, 1), size)[..., 0]
    return np.where(share > 0.5, 255, 0).astype(np.uint8)


def _paint(
    lesion: Lesion, skin: Array, traits: Traits, tone: np.random.Generator, rng: np.random.Generator
) -> Array:
    """Colors (n, 3) of the lesion's pixels on `skin` (pixels, 3).

    tone draws the lesion's mean darkness and hue, whatever the class; the painted lesion is adjusted to match.
    """
    darkness = np.exp(tone.uniform(np.log(0.55), np.log(1.25)))
    hue = np.exp(tone.normal(0, [0.08, 0.04, 0.08])).astype(np.float32)
    under = skin[lesion.where]
    inside = lesion.depth > 0

    shade = 1 + tone.uniform(-0.3, 0.7) * np.clip(lesion.depth, -0.3, 1)
    relative = (
        pigment(lesion, traits, rng)
        * modulation(lesion, traits, rng)[:, None]
        * (lesion.cover * shade)[:, None]
    )
    color = under * np.exp(-darkness * relative * MELANIN.mean() / relative[inside].mean())
    daylight = 0.35 + skin.mean()
    for opacity, paint in overlays(lesion, traits, rng):
        color += opacity[:, None] * (paint * daylight - color)
    expected = np.exp(-darkness * hue * MELANIN) * under[inside].mean(0)
    return color * (expected / color[inside].mean(0)) ** lesion.cover[:, None]


def _average(image: Array, size: int) -> Array:
    """(size, size, channels): mean over square blocks of pixels."""
    factor = image.shape[0] // size
    return image.reshape(size, factor, size, factor, -1).mean((1, 3))
