"""Procedural dermoscopy: lesions of three classes, with an exact mask, on skin with artifacts."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gravis_triton.data.synthetic.skin import (
    BLOOD,
    DEEP_MELANIN,
    MELANIN,
    Array,
    Canvas,
    Rng,
    add_artifacts,
    canvas_of,
    cell_pattern,
    lattice_noise,
    paint_skin,
    rgb,
    shine,
    smooth_step,
    wave_noise,
)
from gravis_triton.errors import UserError

SYNTHETIC_CLASSES = ("melanoma", "seborrheic_keratosis", "nevus")
_CUMULATIVE = (374 / 2000, (374 + 254) / 2000)  # ISIC 2017, training split: 374, 254 and 1372 of 2000

# Signs that dermatologists look for, the only place where the classes differ: melanoma asymmetric and notched with many
# colors and atypical structures; keratosis with a sharp border, cysts, plugged openings and ridges; nevus symmetric and
# regular with one or two colors, fading out.
# Ranges, uniform. asymmetry, irregularity: relative amplitudes of the radius at low and high frequency; softness: the
# border's width relative to the radius; abruptness: how much that changes around the border; eccentricity: how far from
# the center the darkest color is; disorder: 0 regular, 1 atypical network and globules. colors: chances of 1, 2, 3, ...
_RANGES = {
    "asymmetry": ((0.12, 0.27), (0.04, 0.18), (0.02, 0.13)),
    "irregularity": ((0.05, 0.14), (0.02, 0.09), (0.01, 0.06)),
    "softness": ((0.05, 0.20), (0.02, 0.06), (0.10, 0.30)),
    "abruptness": ((0.4, 1.0), (0.0, 0.3), (0.0, 0.3)),
    "colors": ((0.0, 0.08, 0.40, 0.35, 0.17), (0.40, 0.40, 0.20), (0.60, 0.37, 0.03)),
    "eccentricity": ((0.3, 0.8), (0.0, 0.5), (0.0, 0.3)),
    "disorder": ((0.6, 1.0), (0.3, 0.8), (0.0, 0.25)),
}
# Chances of a network, globules, neither.
_PATTERNS = ((0.35, 0.20, 0.45), (0.0, 0.05, 0.95), (0.58, 0.34, 0.08))
# (probability, weakest, strongest); a strength of 0 is absent, 1 the strongest.
_SIGNS = {
    "streaks": ((0.50, 0.5, 1.0), (0.02, 0.3, 0.6), (0.04, 0.4, 0.8)),
    "veil": ((0.6, 0.6, 1.0), (0.05, 0.3, 0.6), (0.03, 0.3, 0.6)),
    "regression": ((0.35, 0.4, 1.0), (0.03, 0.3, 0.5), (0.02, 0.3, 0.5)),
    "cysts": ((0.04, 0.3, 0.6), (0.85, 0.7, 1.0), (0.05, 0.3, 0.6)),
    "openings": ((0.03, 0.3, 0.6), (0.75, 0.7, 1.0), (0.03, 0.3, 0.6)),
    "ridges": ((0.02, 0.3, 0.6), (0.75, 0.7, 1.0), (0.02, 0.3, 0.6)),
}
# Groups of traits, each of which is at times borrowed from another class, so that no single sign is decisive.
_GROUPS = (
    ("asymmetry", "irregularity", "softness", "abruptness"),
    ("colors", "eccentricity", "veil", "regression"),
    ("network", "globules", "disorder", "streaks", "cysts", "openings", "ridges"),
)
_BORROWED = 0.06

Traits = Mapping[str, float]

_ANGLES = np.linspace(-np.pi, np.pi, 721)

# Small images are drawn at least this large and averaged down, so that fine structures do not alias.
_FINEST = 128


@dataclass(frozen=True)
class RenderedImage:
    """pixels (size, size, 3) uint8 RGB; mask (size, size) uint8, 255 in the lesion, else 0; label."""

    pixels: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    label: int


def render(seed: int, index: int, size: int) -> RenderedImage:
    """Image `index` of the collection `seed`, `size` pixels per side; the same scene at every size.

    Raises UserError for a negative seed or index and for a size below 16.
    """
    canvas, traits, lesion = _scene(seed, index, size)
    image = np.exp(-paint_skin(canvas, _stream(seed, index, 4)))
    flat = image.reshape(3, -1)
    flat[:, lesion.where] = _paint(lesion, flat, traits, _stream(seed, index, 5), _stream(seed, index, 6))
    add_artifacts(image, canvas, _stream(seed, index, 8))
    image = shine(image, canvas, _stream(seed, index, 9))
    image += 0.012 * lattice_noise(canvas, _stream(seed, index, 10), _FINEST)
    pixels = np.rint(255 * np.clip(_average(image, size), 0, 1)).astype(np.uint8)
    return RenderedImage(
        np.ascontiguousarray(np.moveaxis(pixels, 0, 2)), _mask(canvas, lesion, size), label_of(seed, index)
    )


def render_mask(seed: int, index: int, size: int) -> NDArray[np.uint8]:
    """Only the mask of what `render` draws, in a small part of the time."""
    canvas, _, lesion = _scene(seed, index, size)
    return _mask(canvas, lesion, size)


def label_of(seed: int, index: int) -> int:
    """Class of image `index`: an index into SYNTHETIC_CLASSES, drawn in the proportions of ISIC 2017."""
    return int(np.searchsorted(_CUMULATIVE, _stream(seed, index, 0).uniform(), side="right"))


def _stream(seed: int, index: int, part: int) -> Rng:
    """The random numbers of one part of one image: draws for one part never affect another."""
    return np.random.default_rng([seed, index, part])


@dataclass(frozen=True)
class _Lesion:
    """The pixels in and around a lesion, as flat arrays of length n.

    where: flat indices of those pixels; u, v: position relative to the center in units of the mean radius;
    depth: how far inside the border, in the same units (negative outside); cover: 0 outside to 1 inside, 0.5
    on the border; fingers: 0 to 1 along the streaks that radiate from it; radius: the mean radius in frame units;
    noise: `wave_noise` at the pixels, from random numbers and a wavelength in units of the mean radius.
    """

    where: NDArray[np.intp]
    u: Array
    v: Array
    depth: Array
    cover: Array
    fingers: Array
    radius: float
    noise: Callable[[Rng, float], Array]


def _scene(seed: int, index: int, size: int) -> tuple[Canvas, Traits, _Lesion]:
    if seed < 0 or index < 0:
        raise UserError(f"synthetic images need seed and index >= 0, got seed {seed}, index {index}")
    if size < 16:
        raise UserError(f"synthetic images need a size of at least 16 pixels, got {size}")
    canvas = canvas_of(size * -(-_FINEST // size))
    traits = _draw_traits(label_of(seed, index), _stream(seed, index, 1))
    return canvas, traits, _outline(canvas, traits, _stream(seed, index, 2), _stream(seed, index, 3))


def _draw_traits(label: int, rng: Rng) -> Traits:
    traits = _class_traits(label, rng)
    for group in _GROUPS:
        loan = _class_traits((label + int(rng.integers(1, 3))) % 3, rng)
        if rng.uniform() < _BORROWED:
            traits |= {name: loan[name] for name in group}
    return traits


def _class_traits(label: int, rng: Rng) -> dict[str, float]:
    pattern = int(rng.choice(3, p=_PATTERNS[label]))
    strength = float(rng.uniform(0.7, 1.0))
    traits: dict[str, float] = {"network": strength * (pattern == 0), "globules": strength * (pattern == 1)}
    for name, ranges in _RANGES.items():
        values = ranges[label]
        traits[name] = (
            1 + int(rng.choice(len(values), p=values)) if name == "colors" else rng.uniform(values[0], values[1])
        )
    for name, signs in _SIGNS.items():
        chance, weakest, strongest = signs[label]
        strength = rng.uniform(weakest, strongest)
        traits[name] = strength if rng.uniform() < chance else 0.0
    return traits


def _outline(canvas: Canvas, traits: Traits, place: Rng, rng: Rng) -> _Lesion:
    """Place a lesion in the frame. place draws position and size (whatever the class), rng the shape."""
    radius = float(np.exp(place.uniform(np.log(0.54), np.log(0.84))))
    center = place.uniform(-1, 1, 2) * max(0.05, 0.9 - radius) * 0.5
    elongation, turn = place.uniform(1.0, 1.35), place.uniform(0, np.pi)
    columns, rows = ((canvas.axis - np.float32(c)) / np.float32(radius) for c in center)
    reach = np.flatnonzero(np.add.outer(rows**2, columns**2) < 1.75**2)
    u, v = columns[reach % canvas.size], rows[reach // canvas.size]

    def noise(rng: Rng, wavelength: float) -> Array:
        return wave_noise(columns, rows, rng, wavelength).ravel()[reach]

    # an irregular border departs from the star shape
    warp = np.float32(0.5 * traits["irregularity"])
    wu = u + warp * (noise(rng, 0.6) + 0.5 * noise(rng, 0.25))
    wv = v + warp * (noise(rng, 0.6) + 0.5 * noise(rng, 0.25))
    angle, distance = np.arctan2(wv, wu), np.sqrt(wu * wu + wv * wv)
    ellipse = 1 / np.hypot(np.cos(_ANGLES - turn) / elongation, np.sin(_ANGLES - turn) * elongation) ** 0.5
    border = ellipse * np.exp(
        traits["asymmetry"] * _ring(rng, 1, 3, 0.5) + traits["irregularity"] * _ring(rng, 5, 14, 0.6)
    )
    fingers = _fingers(rng) * traits["streaks"]
    border = border * (1 + 0.16 * fingers)
    border /= np.sqrt(np.mean(border**2))  # the area does not reveal the class
    softness = traits["softness"] * np.exp(traits["abruptness"] * _ring(rng, 1, 2, 0.0))
    border_distance, width, along = _interpolate(angle, border, np.clip(softness, 0.02, 0.4), fingers)
    depth = border_distance - distance
    return _Lesion(reach, u, v, depth, smooth_step(depth / width), along, radius, noise)


def _interpolate(angle: Array, *curves: Array) -> list[Array]:
    """Each curve, given at _ANGLES, at the angles in between."""
    position = (angle + np.float32(np.pi)) * np.float32((len(_ANGLES) - 1) / (2 * np.pi))
    left = np.clip(position.astype(np.intp), 0, len(_ANGLES) - 2)
    share = position - left.astype(np.float32)
    return [c[left] + share * np.diff(c)[left] for c in (curve.astype(np.float32) for curve in curves)]


def _ring(rng: Rng, lowest: int, highest: int, decay: float) -> NDArray[np.float64]:
    """Periodic noise of unit variance over the angles; harmonics lowest..highest fall as k ** -decay."""
    k = np.arange(lowest, highest + 1)
    size = rng.normal(0, 1, len(k)) * k**-decay
    size *= np.sqrt(2 / np.sum(size**2))
    return size @ np.cos(np.outer(k, _ANGLES) + rng.uniform(0, 2 * np.pi, (len(k), 1)))


def _fingers(rng: Rng) -> NDArray[np.float64]:
    """Radial streaks: narrow teeth over the angles, crowded on one side of the border."""
    count = int(rng.integers(16, 30))
    teeth = np.maximum(np.cos(count * _ANGLES + 0.8 * _ring(rng, 2, 6, 0.5)), 0) ** 2
    lean = np.cos(_ANGLES - rng.uniform(-np.pi, np.pi)) - rng.uniform(-0.6, 0.5)
    return teeth * (0.5 + 0.5 * np.tanh(2.5 * lean))


def _mask(canvas: Canvas, lesion: _Lesion, size: int) -> NDArray[np.uint8]:
    inside = np.zeros(canvas.size**2, np.float32)
    inside[lesion.where] = lesion.depth > 0
    share = _average(inside.reshape(canvas.size, -1), size)
    return np.where(share > 0.5, 255, 0).astype(np.uint8)


def _average(image: Array, size: int) -> Array:
    """(..., size, size): mean over square blocks of pixels."""
    factor = image.shape[-1] // size
    blocks = (image[..., row::factor, column::factor] for row in range(factor) for column in range(factor))
    return sum(blocks, np.float32(0)) / factor**2


def _paint(lesion: _Lesion, skin: Array, traits: Traits, tone: Rng, rng: Rng) -> Array:
    """Colors (3, n) of the lesion's pixels on `skin` (3, pixels).

    tone draws the lesion's mean darkness and hue, whatever the class; the painted lesion is adjusted to match.
    """
    darkness = float(np.exp(tone.uniform(np.log(0.55), np.log(1.25))))
    hue = np.exp(rgb(*tone.normal(0, [0.08, 0.04, 0.08])))
    under = skin[:, lesion.where]
    inside = (lesion.depth > 0).astype(np.float32)
    inside /= inside.sum()  # a product with it is the mean over the lesion

    shade = 1 + tone.uniform(-0.3, 0.7) * np.clip(lesion.depth, -0.3, 1)
    relative = _pigment(lesion, traits, rng) * (_structures(lesion, traits, rng) * lesion.cover * shade)
    color = under * np.exp(relative * (-darkness * MELANIN.mean() / (relative @ inside).mean()))
    daylight = 0.35 + skin.mean()
    for opacity, paint in _overlays(lesion, traits, rng):
        color += opacity * (paint * daylight - color)
    expected = np.exp(-darkness * hue * MELANIN) * (under @ inside)[:, None]
    return color * np.exp(lesion.cover * np.log(expected / (color @ inside)[:, None]))


def _pigment(lesion: _Lesion, traits: Traits, rng: Rng) -> Array:
    """Relative optical density (3, n) of the lesion's base color, before structures; of order 1."""
    palette = _palette(int(traits["colors"]), rng)
    ground = palette @ _shares(lesion, traits, rng)
    angle = rng.uniform(0, 2 * np.pi)
    slope = np.float32(2 * np.cos(angle)) * lesion.u + np.float32(2 * np.sin(angle)) * lesion.v
    tilt = 1 + 0.45 * traits["eccentricity"] * np.tanh(slope)
    mottle = np.ones_like(lesion.u)
    for wavelength in (0.5, 0.22, 0.1, 0.05):
        mottle += rng.uniform(0.04, 0.11) * lesion.noise(rng, wavelength / lesion.radius)
    blotch = smooth_step(lesion.noise(rng, 0.9) - rng.uniform(0.6, 1.6))
    mottle += rng.uniform(0.2, 0.7) * blotch
    return ground * (tilt * np.maximum(mottle, 0.2))


def _palette(colors: int, rng: Rng) -> Array:
    """(3, colors) densities: browns first, then black, blue-gray and red in a random order."""
    if colors == 1:
        return MELANIN
    palette = [0.5 * MELANIN, 1.25 * MELANIN]
    if colors > 2:
        rare = [1.5 * MELANIN + 0.6, 0.75 * DEEP_MELANIN + 0.3 * MELANIN, 0.35 * MELANIN + 0.7 * BLOOD]
        palette += [rare[i] for i in rng.permutation(3)[: colors - 2]]
    return np.hstack(palette)


def _shares(lesion: _Lesion, traits: Traits, rng: Rng) -> Array:
    """Share of each color at each pixel, (colors, n), summing to 1: two in rings, more in compartments."""
    colors, u, v = int(traits["colors"]), lesion.u, lesion.v
    if colors == 1:
        return np.ones((1, len(u)), np.float32)
    if colors == 2:  # a dark center, or a pale one
        inside = smooth_step((lesion.depth - np.float32(rng.uniform(0.25, 0.6))) / np.float32(0.3))
        dark = inside if rng.uniform() < 0.65 else 1 - inside
        return np.stack([1 - dark, dark])
    lean = 2.0 * traits["eccentricity"]
    score = np.stack(
        [
            1.2 * lesion.noise(rng, 1.3) + lean * (np.float32(np.cos(d)) * u + np.float32(np.sin(d)) * v)
            for d in rng.uniform(0, 2 * np.pi, colors)
        ]
    )
    share = np.exp(3.0 * (score - score.max(0)))
    return share / share.sum(0)


def _structures(lesion: _Lesion, traits: Traits, rng: Rng) -> Array:
    """Factor (n,) on the lesion's density from network, globules, streaks, ridges and plugged openings."""
    total = np.ones_like(lesion.u)
    if traits["network"]:
        total += traits["network"] * _network(lesion, traits["disorder"], rng)
    if traits["globules"]:
        total += traits["globules"] * _globules(lesion, traits["disorder"], rng)
    if traits["streaks"]:
        total += 1.1 * lesion.fingers * np.exp(-(((lesion.depth - 0.02) / 0.2) ** 2))
    if traits["ridges"]:  # fissures as on a brain's surface: dark lines where a banded noise changes sign
        field = lesion.noise(rng, rng.uniform(0.17, 0.27) / lesion.radius)
        total += traits["ridges"] * (0.9 * np.exp(-((field / 0.4) ** 2)) - 0.35)
    if traits["openings"]:  # comedo-like: few, sharp, dark brown plugs of uneven size
        pattern = cell_pattern(lesion.u, lesion.v, rng, rng.uniform(0.13, 0.22) / lesion.radius, 0.95)
        plugs = pattern.spots(pattern.draw < 0.6, 0.12, 0.25, 0.1)
        total += traits["openings"] * (1.5 * plugs * (lesion.depth > 0.05))
    return np.maximum(total, 0.1)


def _network(lesion: _Lesion, disorder: float, rng: Rng) -> Array:
    """A fine net of brown lines that fades towards the border; disorder makes meshes wide and uneven, lines thick
    and the net patchy, up to the border."""
    pitch = rng.uniform(0.045, 0.065) * (1 + 0.6 * disorder) / lesion.radius
    bend = np.float32((0.25 + 0.35 * disorder) * pitch)
    u = lesion.u + bend * lesion.noise(rng, 3 * pitch)
    v = lesion.v + bend * lesion.noise(rng, 3 * pitch)
    pattern = cell_pattern(u, v, rng, pitch, 0.6 + 0.4 * disorder)
    thickness = rng.uniform(0.22, 0.32) * (1 + (0.25 + 0.35 * disorder) * np.tanh(lesion.noise(rng, 0.5)))
    lines = np.exp(-((pattern.gap / thickness) ** 2))
    seen = smooth_step(0.5 - disorder + 1.1 * lesion.noise(rng, 0.7))
    fading = smooth_step((lesion.depth - 0.12 * (1 - disorder)) / np.float32(0.3 - 0.15 * disorder))
    return (0.8 + 0.7 * disorder) * (lines - 0.4) * seen * fading


def _globules(lesion: _Lesion, disorder: float, rng: Rng) -> Array:
    """Dark clods of uneven size and place, cobbled where dense; disorder gathers them on one side."""
    total = np.zeros_like(lesion.u)
    for pitch, share in ((rng.uniform(0.10, 0.15), 0.5), (rng.uniform(0.06, 0.09), 0.6)):
        pitch = pitch / lesion.radius
        bend = np.float32(0.16 * pitch)
        u = lesion.u + bend * lesion.noise(rng, 2 * pitch)
        v = lesion.v + bend * lesion.noise(rng, 2 * pitch)
        pattern = cell_pattern(u, v, rng, pitch, 0.9)
        total = np.maximum(total, pattern.spots(pattern.draw < share, 0.2, 0.4, 0.18) * (0.6 + pattern.draw))
    side = rng.uniform(0, 2 * np.pi)
    lean = np.float32(np.cos(side)) * lesion.u + np.float32(np.sin(side)) * lesion.v
    gathered = smooth_step(1.0 - 1.4 * disorder + 2.0 * disorder * lean)
    return 1.3 * (total - 0.25) * gathered


def _overlays(lesion: _Lesion, traits: Traits, rng: Rng) -> list[tuple[Array, Array]]:
    """Layers to paint on top: opacity (n,) and color of blue-white veil, regression, milia-like cysts."""
    layers: list[tuple[Array, Array]] = []
    inside = smooth_step((lesion.depth - 0.08) / 0.12)
    if traits["veil"]:
        layers.append((0.62 * traits["veil"] * _patch(lesion, rng, 0.5) * inside, rgb(0.56, 0.57, 0.66)))
    if traits["regression"]:
        layers.append((0.7 * traits["regression"] * _patch(lesion, rng, 0.45) * inside, rgb(0.88, 0.80, 0.79)))
    if traits["cysts"]:
        pattern = cell_pattern(lesion.u, lesion.v, rng, rng.uniform(0.10, 0.17) / lesion.radius, 0.95)
        spots = pattern.spots(pattern.draw > 0.5, 0.08, 0.16, 0.18) * inside
        layers.append((0.75 * traits["cysts"] * spots, rgb(0.97, 0.93, 0.82)))
    return layers


def _patch(lesion: _Lesion, rng: Rng, extent: float) -> Array:
    """A soft-edged area off the center."""
    angle, far = rng.uniform(0, 2 * np.pi), rng.uniform(0.15, 0.5)
    du = lesion.u - np.float32(far * np.cos(angle))
    dv = lesion.v - np.float32(far * np.sin(angle))
    ragged = 0.3 * lesion.noise(rng, 0.6)
    return smooth_step((extent - np.sqrt(du * du + dv * dv) * (1 + ragged)) / 0.22)
