"""A lesion's outline and its colors."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gravis_triton.data.datasets.synthetic.canvas import Array, Canvas, smooth_step, wave_noise
from gravis_triton.data.datasets.synthetic.skin import BLOOD, DEEP_MELANIN, MELANIN
from gravis_triton.data.datasets.synthetic.traits import Traits

_ANGLES = np.linspace(-np.pi, np.pi, 721)


@dataclass(frozen=True)
class Lesion:
    """The pixels in and around a lesion, as flat arrays of length n.

    where: flat indices of those pixels; u, v: position relative to the center in units of the mean radius;
    depth: how far inside the border, in the same units (negative outside); cover: 0 outside to 1 inside, 0.5
    on the border; fingers: 0 to 1 along the streaks that radiate from it; radius: the mean radius in frame units.
    """

    where: NDArray[np.intp]
    u: Array
    v: Array
    depth: Array
    cover: Array
    fingers: Array
    radius: float


def outline(canvas: Canvas, traits: Traits, place: np.random.Generator, rng: np.random.Generator) -> Lesion:
    """Place a lesion in the frame. place draws position and size (whatever the class), rng the shape."""
    radius = float(np.exp(place.uniform(np.log(0.54), np.log(0.84))))
    center = place.uniform(-1, 1, 2) * max(0.05, 0.9 - radius) * 0.5
    elongation, turn = place.uniform(1.0, 1.35), place.uniform(0, np.pi)
    x, y = canvas.x - np.float32(center[0]), canvas.y - np.float32(center[1])
    reach = np.flatnonzero(x * x + y * y < (1.75 * radius) ** 2)
    u, v = x.ravel()[reach] / np.float32(radius), y.ravel()[reach] / np.float32(radius)

    # an irregular border departs from the star shape
    warp = np.float32(0.5 * traits.irregularity)
    wu = u + warp * (wave_noise(u, v, rng, 0.6) + 0.5 * wave_noise(u, v, rng, 0.25))
    wv = v + warp * (wave_noise(u, v, rng, 0.6) + 0.5 * wave_noise(u, v, rng, 0.25))
    angle, distance = np.arctan2(wv, wu), np.sqrt(wu * wu + wv * wv)
    ellipse = 1 / np.hypot(np.cos(_ANGLES - turn) / elongation, np.sin(_ANGLES - turn) * elongation) ** 0.5
    border = ellipse * np.exp(
        traits.asymmetry * _ring(rng, 1, 3, 0.5) + traits.irregularity * _ring(rng, 5, 14, 0.6)
    )
    fingers = _fingers(rng) * traits.streaks
    border = border * (1 + 0.16 * fingers)
    border /= np.sqrt(np.mean(border**2))  # the area does not reveal the class
    depth = np.interp(angle, _ANGLES, border).astype(np.float32) - distance

    softness = traits.softness * np.exp(traits.abruptness * _ring(rng, 1, 2, 0.0))
    width = np.interp(angle, _ANGLES, np.clip(softness, 0.02, 0.4)).astype(np.float32)
    cover = smooth_step(depth / width)
    along = np.interp(angle, _ANGLES, fingers).astype(np.float32)
    return Lesion(reach, u, v, depth, cover, along, radius)


def _ring(rng: np.random.Generator, lowest: int, highest: int, decay: float) -> NDArray[np.float64]:
    """Periodic noise of unit variance over the angles; harmonics lowest..highest fall as k ** -decay."""
    k = np.arange(lowest, highest + 1)
    size = rng.normal(0, 1, len(k)) * k**-decay
    size *= np.sqrt(2 / np.sum(size**2))
    return size @ np.cos(np.outer(k, _ANGLES) + rng.uniform(0, 2 * np.pi, (len(k), 1)))


def _fingers(rng: np.random.Generator) -> NDArray[np.float64]:
    """Radial streaks: narrow teeth over the angles, crowded on one side of the border."""
    count = int(rng.integers(16, 30))
    teeth = np.maximum(np.cos(count * _ANGLES + 0.8 * _ring(rng, 2, 6, 0.5)), 0) ** 2
    sector = 0.5 + 0.5 * np.tanh(
        2.5 * (np.cos(_ANGLES - rng.uniform(-np.pi, np.pi)) - rng.uniform(-0.6, 0.5))
    )
    return teeth * sector


def pigment(lesion: Lesion, traits: Traits, rng: np.random.Generator) -> Array:
    """Relative optical density (n, 3) of the lesion's base color, before structures; of order 1."""
    palette = _palette(traits.colors, rng)
    ground = _shares(lesion, traits, rng) @ palette
    angle = rng.uniform(0, 2 * np.pi)
    slope = np.float32(2 * np.cos(angle)) * lesion.u + np.float32(2 * np.sin(angle)) * lesion.v
    tilt = 1 + 0.45 * traits.eccentricity * np.tanh(slope)
    mottle = np.ones_like(lesion.u)
    for wavelength in (0.5, 0.22, 0.1, 0.05):
        mottle += rng.uniform(0.04, 0.11) * wave_noise(lesion.u, lesion.v, rng, wavelength / lesion.radius)
    blotch = smooth_step(wave_noise(lesion.u, lesion.v, rng, 0.9) - rng.uniform(0.6, 1.6))
    mottle += rng.uniform(0.2, 0.7) * blotch
    return ground * (tilt * np.maximum(mottle, 0.2))[:, None]


def _shares(lesion: Lesion, traits: Traits, rng: np.random.Generator) -> Array:
    """Share of each color at each pixel, (n, colors), summing to 1: two in rings, more in compartments."""
    u, v = lesion.u, lesion.v
    if traits.colors == 1:
        return np.ones((len(u), 1), np.float32)
    if traits.colors == 2:
        dark = _concentric(lesion, rng)
        return np.stack([1 - dark, dark], 1)
    lean = 2.0 * traits.eccentricity
    score = np.stack(
        [
            1.2 * wave_noise(u, v, rng, 1.3) + lean * (np.float32(np.cos(d)) * u + np.float32(np.sin(d)) * v)
            for d in rng.uniform(0, 2 * np.pi, traits.colors)
        ],
        1,
    )
    share = np.exp(3.0 * (score - score.max(1, keepdims=True)))
    return share / share.sum(1, keepdims=True)


def _palette(colors: int, rng: np.random.Generator) -> Array:
    """(colors, 3) densities: browns first, then black, blue-gray and red in a random order."""
    light = 0.5 * MELANIN
    dark = 1.25 * MELANIN
    black = 1.5 * MELANIN + 0.6
    blue = 0.75 * DEEP_MELANIN + 0.3 * MELANIN
    red = 0.35 * MELANIN + 0.7 * BLOOD
    if colors == 1:
        return np.stack([MELANIN])
    if colors == 2:
        return np.stack([light, dark])
    rare = [black, blue, red]
    picked = [rare[i] for i in rng.permutation(3)[: colors - 2]]
    return np.stack([light, dark, *picked])


def _concentric(lesion: Lesion, rng: np.random.Generator) -> Array:
    """Share of the darker of two concentric colors: a dark center, or a pale one."""
    edge = rng.uniform(0.25, 0.6)
    inside = smooth_step((lesion.depth - np.float32(edge)) / np.float32(0.3))
    return inside if rng.uniform() < 0.65 else 1 - inside
