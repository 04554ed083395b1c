"""Procedural dermoscopy, the surroundings of a lesion: noise and lines, healthy skin, artifacts of skin and camera.

The frame is the square [-1, 1]², so that a scene is the same at every pixel size.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Rng = np.random.Generator


def rgb(red: float, green: float, blue: float) -> Array:
    """(3, 1): to be broadcast with pixels (n,)."""
    return np.array([[red], [green], [blue]], np.float32)


# Optical density in red, green, blue of one unit of each skin chromophore; matched to images by eye.
MELANIN = rgb(0.50, 0.86, 1.16)
BLOOD = rgb(0.10, 0.62, 0.52)
DEEP_MELANIN = rgb(1.05, 0.82, 0.55)  # seen through the dermis, pigment looks blue
_PALE = rgb(0.04, 0.13, 0.17)

_TABLE = 64  # cells after which a cell pattern repeats; a power of two


@dataclass(frozen=True)
class Canvas:
    """Pixel centers of a square image. size: pixels per side; axis: of a row or column; x to the right, y down, both
    (size, size)."""

    size: int
    axis: Array
    x: Array
    y: Array

    @property
    def pitch(self) -> float:
        """Width of a pixel in frame units."""
        return 2.0 / self.size


@lru_cache(maxsize=4)
def canvas_of(size: int) -> Canvas:
    """The canvas with `size` pixels per side."""
    centers = ((np.arange(size) + 0.5) * (2.0 / size) - 1.0).astype(np.float32)
    return Canvas(size, centers, *np.meshgrid(centers, centers))


@lru_cache(maxsize=32)
def _spline_weights(size: int, cells: int) -> Array:
    """(size, cells + 3) weights of a cubic B-spline with `cells` intervals at the pixel centers."""
    distance = np.abs(((np.arange(size) + 0.5) * cells / size)[:, None] - np.arange(-1, cells + 2))
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = (2 - distance) ** 3 / 6
    return np.where(distance < 1, near, np.where(distance < 2, far, 0.0)).astype(np.float32)


def lattice_noise(canvas: Canvas, rng: Rng, cells: int) -> Array:
    """Smooth Gaussian noise of about unit variance with `cells` lattice cells across the frame."""
    weights = _spline_weights(canvas.size, cells)
    # the spline keeps (151 / 315)² of the variance
    lattice = np.float32(315 / 151) * rng.standard_normal((cells + 3, cells + 3), dtype=np.float32)
    return weights @ lattice @ weights.T


def wave_noise(x: Array, y: Array, rng: Rng, wavelength: float, waves: int = 12) -> Array:
    """Noise of unit variance in one octave around `wavelength`: a sum of plane waves, (height, width), at the columns
    x (width,) and the rows y (height,)."""
    number = 2 * np.pi / (wavelength * rng.uniform(0.75, 1.4, waves))
    direction = (np.arange(waves) + rng.uniform(0, 1, waves)) * (np.pi / waves)
    phase = rng.uniform(0, 2 * np.pi, waves)
    across = (np.outer(x, number * np.cos(direction)) + phase).astype(np.float32)
    down = np.outer(y, number * np.sin(direction)).astype(np.float32)
    scale = np.float32(np.sqrt(2 / waves))
    # cos(a + b) = cos(a) cos(b) - sin(a) sin(b): products of matrices instead of a cosine at every point
    return (scale * np.cos(down)) @ np.cos(across).T - (scale * np.sin(down)) @ np.sin(across).T


def smooth_step(value: Array) -> Array:
    """0 below -1, 1 above 1, a cubic between."""
    t = np.clip(value * 0.5 + 0.5, 0, 1)
    return t * t * (3 - 2 * t)


@dataclass(frozen=True)
class Cells:
    """A jittered hexagonal pattern seen from points: distances in units of the pattern's pitch.

    nearest: to the nearest cell's center; gap: how much farther the second nearest is (0 on the walls);
    draw: a uniform number in [0, 1) that belongs to the nearest cell.
    """

    nearest: Array
    gap: Array
    draw: Array

    def spots(self, chosen: NDArray[np.bool_], smallest: float, growth: float, softness: float) -> Array:
        """1 within soft spots around the centers of the cells `chosen`, 0 outside; radius: smallest + growth * draw."""
        radius = np.where(chosen, smallest + growth * self.draw, -1.0)
        return smooth_step((radius - self.nearest) / softness)


def cell_pattern(x: Array, y: Array, rng: Rng, pitch: float, jitter: float) -> Cells:
    """Cells of width `pitch` around the points (x, y); jitter 0 is a honeycomb, 1 is irregular."""
    turn = rng.uniform(0, np.pi)
    cos, sin = np.float32(np.cos(turn) / pitch), np.float32(np.sin(turn) / pitch)
    u, v = cos * x - sin * y, sin * x + cos * y
    offset = rng.uniform(-0.5, 0.5, (2, _TABLE, _TABLE)) * jitter
    cells = np.stack([*offset, rng.uniform(0, 1, (_TABLE, _TABLE))]).astype(np.float32)
    neighbors = [(c, np.roll(cells, -c, 2).reshape(3, -1)) for c in (-1, 0, 1)]
    row_height = np.float32(np.sqrt(3) / 2)
    row = np.floor(v / row_height + 0.5)
    first = np.full_like(u, np.inf)
    second, draw = first.copy(), np.zeros_like(u)
    for r in (-1, 0, 1):
        line = row.astype(np.intp) + r
        shifted = u - np.float32(0.5) * (line & 1).astype(np.float32)
        column = np.floor(shifted + 0.5)
        entry = (line & (_TABLE - 1)) * _TABLE + (column.astype(np.intp) & (_TABLE - 1))
        du, dv = shifted - column, v - (row + r) * row_height
        for c, table in neighbors:
            x_offset, y_offset, value = (values.take(entry) for values in table)
            distance = (du - c - x_offset) ** 2 + (dv - y_offset) ** 2
            closer = distance < first
            second = np.minimum(second, np.maximum(first, distance))
            np.putmask(draw, closer, value)
            first = np.minimum(first, distance)
    nearest = np.sqrt(first)
    return Cells(nearest, np.sqrt(second) - nearest, draw)


def strokes(canvas: Canvas, points: NDArray[np.float64], width: NDArray[np.float64]) -> Array:
    """Fraction of each pixel covered by smooth lines.

    points: (lines, knots, 2) in frame units, joined by straight segments; width: (lines, knots) in frame units.
    """
    size, pitch = canvas.size, canvas.pitch
    length = np.linalg.norm(np.diff(points, axis=1), axis=2).sum(1).max(initial=0.0)
    along = max(2, int(np.ceil(1.6 * length / pitch)))
    across = max(1, int(np.ceil(1.6 * width.max(initial=0.0) / pitch)))
    position = np.linspace(0, points.shape[1] - 1, along)
    left = np.minimum(position.astype(int), points.shape[1] - 2)
    share = (position - left)[None, :, None]
    path = points[:, left] * (1 - share) + points[:, left + 1] * share
    breadth = width[:, left] * (1 - share[..., 0]) + width[:, left + 1] * share[..., 0]
    step = np.gradient(path, axis=1)
    stride = np.linalg.norm(step, axis=2)
    normal = np.stack([-step[..., 1], step[..., 0]], 2) / np.maximum(stride, 1e-9)[..., None]
    sideways = (np.arange(across) + 0.5) / across - 0.5
    place = path[:, :, None] + (normal * breadth[..., None])[:, :, None] * sideways[None, None, :, None]
    # every sample stands for stride x breadth / across of area, shared by the four pixels around it
    weight = np.repeat((stride * breadth / across / pitch**2)[..., None], across, 2).ravel()
    column, row = (place.reshape(-1, 2).T + 1) / pitch - 0.5
    c0, r0 = np.floor(column).astype(int), np.floor(row).astype(int)
    fc, fr = column - c0, row - r0
    total = np.zeros(size * size)
    for r, wr in ((r0, 1 - fr), (r0 + 1, fr)):
        for c, wc in ((c0, 1 - fc), (c0 + 1, fc)):
            keep = (r >= 0) & (r < size) & (c >= 0) & (c < size)
            total += np.bincount((r * size + c)[keep], (weight * wr * wc)[keep], size * size)
    return np.minimum(total, 1).reshape(size, size).astype(np.float32)


def paint_skin(canvas: Canvas, rng: Rng) -> Array:
    """Optical density (3, size, size) of bare skin: pigment, furrows, freckles, blood, vessels and grain.

    Its phototype runs from very fair to dark brown.
    """
    tone = 0.05 + 1.05 * rng.beta(1.0, 3.2)
    flush = rng.uniform(0.02, 0.32)
    pigment = np.full((canvas.size, canvas.size), tone, np.float32)
    pigment *= 1 + rng.uniform(0.02, 0.09) * (lattice_noise(canvas, rng, 5) + 0.6 * lattice_noise(canvas, rng, 14))
    furrows = cell_pattern(canvas.x, canvas.y, rng, rng.uniform(0.04, 0.08), 1.0)
    relief = np.float32(rng.uniform(-0.06, 0.06)) * np.exp(-((furrows.gap / 0.16) ** 2))
    pigment += relief + _freckles(canvas, rng)
    blood = np.maximum(flush * (1 + 0.3 * lattice_noise(canvas, rng, 7)), 0)
    blood += _vessels(canvas, rng)
    grain = rng.uniform(0.006, 0.018) * (lattice_noise(canvas, rng, 40) + lattice_noise(canvas, rng, 90))
    density = _PALE + MELANIN * pigment.ravel() + BLOOD * blood.ravel() + grain.ravel()
    return density.reshape(3, canvas.size, canvas.size)


def _freckles(canvas: Canvas, rng: Rng) -> Array:
    """Soft brown spots, in one image in three."""
    if rng.uniform() > 0.33:
        return np.zeros_like(canvas.x)
    field = lattice_noise(canvas, rng, int(rng.integers(9, 18)))
    return np.float32(rng.uniform(0.05, 0.2)) * np.maximum(field - 1.2, 0)


def _vessels(canvas: Canvas, rng: Rng) -> Array:
    """Fine red meandering vessels, in one image in four."""
    if rng.uniform() > 0.25:
        return np.zeros_like(canvas.x)
    lines = int(rng.integers(8, 45))
    heading = rng.uniform(0, 2 * np.pi, (lines, 1)) + np.cumsum(rng.normal(0, 0.45, (lines, 9)), 1)
    step = rng.uniform(0.02, 0.06, (lines, 1, 1)) * np.stack([np.cos(heading), np.sin(heading)], 2)
    points = rng.uniform(-1, 1, (lines, 1, 2)) + np.cumsum(step, 1)
    cover = strokes(canvas, points, np.full((lines, 9), rng.uniform(0.006, 0.013)))
    return np.float32(rng.uniform(0.15, 0.45)) * cover


def add_artifacts(image: Array, canvas: Canvas, rng: Rng) -> None:
    """Paint hairs, a ruler and gel bubbles into `image` (3, size, size), the same in all classes."""
    _add_hairs(image, canvas, rng)
    _add_ruler(image, canvas, rng)
    _add_bubbles(image, canvas, rng)


def _add_hairs(image: Array, canvas: Canvas, rng: Rng) -> None:
    """Curved, tapered hairs, dark or light, in one image in three."""
    if rng.uniform() > 0.33:
        return
    count = int(np.exp(rng.uniform(np.log(2), np.log(25))))
    heading = rng.uniform(0, 2 * np.pi) + rng.normal(0, 0.6, count)
    length = rng.uniform(0.5, 1.8, count)
    bend = rng.normal(0, 0.9, count)
    t = np.linspace(-0.5, 0.5, 12)
    turned = heading[:, None] + bend[:, None] * t
    step = np.stack([np.cos(turned), np.sin(turned)], 2) * (length[:, None, None] / len(t))
    points = rng.uniform(-1.1, 1.1, (count, 1, 2)) + np.cumsum(step, 1) - step.sum(1, keepdims=True) / 2
    thickness = rng.uniform(0.010, 0.024) * rng.uniform(0.6, 1.3, (count, 1))
    cover = strokes(canvas, points, thickness * np.linspace(1.0, 0.25, len(t)))
    light = rng.uniform() < 0.2
    color = rng.uniform(0.75, 0.9) if light else rng.uniform(0.05, 0.3)
    image += 0.85 * cover * ((rgb(1.0, 0.9, 0.8) * np.float32(color))[..., None] - image)


def _add_ruler(image: Array, canvas: Canvas, rng: Rng) -> None:
    """A ruler's dark marks near the frame's edge, in one image in four."""
    if rng.uniform() > 0.25:
        return
    angle = rng.integers(0, 4) * np.pi / 2 + rng.normal(0, 0.15)
    along = np.array([np.cos(angle), np.sin(angle)])
    inwards = np.array([-along[1], along[0]])
    start, spacing = rng.uniform(-0.9, 0.1), rng.uniform(0.06, 0.12)
    marks = np.arange(int(rng.integers(8, 18)))
    depth = np.where(marks % 5 == 0, 0.12, 0.07) * rng.uniform(0.7, 1.2)
    foot = -rng.uniform(0.8, 0.95) * inwards + (start + spacing * marks)[:, None] * along
    lines = np.stack([foot, foot + depth[:, None] * inwards], 1)
    if rng.uniform() < 0.6:
        lines = np.concatenate([lines, [[foot[0], foot[-1]]]])
    cover = strokes(canvas, lines, np.full(lines.shape[:2], rng.uniform(0.012, 0.02)))
    image += 0.8 * cover * (np.float32(rng.uniform(0.05, 0.25)) - image)


def _add_bubbles(image: Array, canvas: Canvas, rng: Rng) -> None:
    """Gel bubbles (a rim lit on one side, a highlight) in one image in four."""
    if rng.uniform() > 0.25:
        return
    light = rng.uniform(0, 2 * np.pi)
    for _ in range(int(rng.integers(1, 9))):
        cx, cy = rng.uniform(-1, 1, 2)
        radius = np.exp(rng.uniform(np.log(0.025), np.log(0.14)))
        first = [max(int((c - 1.5 * radius + 1) / canvas.pitch), 0) for c in (cy, cx)]
        last = [max(int((c + 1.5 * radius + 1) / canvas.pitch) + 1, 0) for c in (cy, cx)]
        window = tuple(map(slice, first, last))
        dx, dy = (canvas.x[window] - cx) / radius, (canvas.y[window] - cy) / radius
        distance = np.hypot(dx, dy)
        lit = np.cos(np.arctan2(dy, dx) - light)
        rim = np.exp(-(((distance - 0.9) / 0.13) ** 2))
        spot = np.exp(-((dx - 0.5 * np.cos(light)) ** 2 + (dy - 0.5 * np.sin(light)) ** 2) / 0.03)
        gain = 0.06 * (distance < 1) + 0.22 * rim * lit + 0.45 * spot
        image[:, *window] += gain.astype(np.float32)


def shine(image: Array, canvas: Canvas, rng: Rng) -> Array:
    """The image under uneven light and a camera's color cast, exposure and dark corners."""
    angle, slope = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.16)
    level = 1 + np.float32(slope * np.cos(angle)) * canvas.x + np.float32(slope * np.sin(angle)) * canvas.y
    level += 0.03 * lattice_noise(canvas, rng, 3)
    cx, cy = rng.normal(0, 0.07, 2).astype(np.float32)
    from_center = np.hypot(canvas.x - cx, canvas.y - cy)
    level -= rng.uniform(0, 0.16) * from_center**2
    warm, green = rng.normal(0, 0.04), rng.normal(0, 0.015)
    cast = np.exp(rgb(warm, green, -1.2 * warm)) * rng.uniform(0.86, 1.1)
    lit = image * level * cast[..., None]
    if rng.uniform() < 0.3:
        radius, blur = rng.uniform(1.0, 1.3), rng.uniform(0.02, 0.1)
        lit *= smooth_step((radius - from_center) / np.float32(blur))
        lit += 0.02
    return lit
