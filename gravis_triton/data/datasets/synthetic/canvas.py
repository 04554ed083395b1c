"""The drawing surface: the frame is the square [-1, 1]², so that a scene is the same at every pixel size."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]


@dataclass(frozen=True)
class Canvas:
    """Pixel centers of a square image. size: pixels per side; x to the right, y down, both (size, size)."""

    size: int
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
    x, y = np.meshgrid(centers, centers)
    return Canvas(size, x, y)


@lru_cache(maxsize=32)
def _spline_weights(size: int, cells: int) -> Array:
    """(size, cells + 3) weights of a cubic B-spline with `cells` intervals at the pixel centers."""
    position = (np.arange(size) + 0.5) * cells / size
    distance = np.abs(position[:, None] - np.arange(-1, cells + 2))
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = (2 - distance) ** 3 / 6
    return np.where(distance < 1, near, np.where(distance < 2, far, 0.0)).astype(np.float32)


def lattice_noise(canvas: Canvas, rng: np.random.Generator, cells: int) -> Array:
    """Smooth Gaussian noise of about unit variance with `cells` lattice cells across the frame."""
    weights = _spline_weights(canvas.size, cells)
    lattice = rng.standard_normal((cells + 3, cells + 3), dtype=np.float32)
    return np.float32(315 / 151) * (
        weights @ lattice @ weights.T
    )  # the spline keeps (151 / 315)² of the variance


def wave_noise(x: Array, y: Array, rng: np.random.Generator, wavelength: float, waves: int = 12) -> Array:
    """Noise of unit variance in one octave around `wavelength` at the points (x, y): a sum of plane waves."""
    number = 2 * np.pi / (wavelength * rng.uniform(0.75, 1.4, waves))
    direction = (np.arange(waves) + rng.uniform(0, 1, waves)) * (np.pi / waves)
    phase = rng.uniform(0, 2 * np.pi, waves)
    total = np.zeros_like(x)
    for k, d, p in zip(number, direction, phase, strict=True):
        total += np.cos(np.float32(k * np.cos(d)) * x + np.float32(k * np.sin(d)) * y + np.float32(p))
    return total * np.float32(np.sqrt(2 / waves))


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


_TABLE = 64


def cell_pattern(x: Array, y: Array, rng: np.random.Generator, pitch: float, jitter: float) -> Cells:
    """Cells of width `pitch` around the points (x, y); jitter 0 is a honeycomb, 1 is irregular."""
    turn = rng.uniform(0, np.pi)
    cos, sin = np.float32(np.cos(turn) / pitch), np.float32(np.sin(turn) / pitch)
    u, v = cos * x - sin * y, sin * x + cos * y
    row_height = np.float32(np.sqrt(3) / 2)
    offset = (rng.uniform(-0.5, 0.5, (2, _TABLE, _TABLE)) * jitter).astype(np.float32)
    value = rng.uniform(0, 1, (_TABLE, _TABLE)).astype(np.float32)
    row = np.floor(v / row_height + 0.5).astype(np.int32)
    first = np.full_like(x, np.inf)
    second = first.copy()
    draw = np.zeros_like(x)
    for down in (-1, 0, 1):
        r = row + down
        shift = np.float32(0.5) * (r & 1)
        column = np.floor(u - shift + 0.5).astype(np.int32)
        for right in (-1, 0, 1):
            c = column + right
            entry = (r % _TABLE) * _TABLE + c % _TABLE
            du = u - (c + shift + offset[0].ravel()[entry])
            dv = v - (r * row_height + offset[1].ravel()[entry])
            distance = np.sqrt(du * du + dv * dv)
            closer = distance < first
            second = np.where(closer, first, np.minimum(second, distance))
            draw = np.where(closer, value.ravel()[entry], draw)
            first = np.minimum(first, distance)
    return Cells(first, second - first, draw)


def strokes(canvas: Canvas, points: NDArray[np.float64], width: NDArray[np.float64]) -> Array:
    """Fraction of each pixel covered by smooth lines.

    points: (lines, knots, 2) in frame units, joined by straight segments; width: (lines, knots) in frame units.
    """
    size, pitch = canvas.size, canvas.pitch
    length = np.linalg.norm(np.diff(points, axis=1), axis=2).sum(1).max(initial=0.0)
    along = max(2, int(np.ceil(1.6 * length / pitch)))
    across = max(1, int(np.ceil(1.6 * width.max(initial=0.0) / pitch)))
    knots = points.shape[1]
    position = np.linspace(0, knots - 1, along)
    left = np.minimum(position.astype(int), knots - 2)
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
    for dr, wr in ((0, 1 - fr), (1, fr)):
        for dc, wc in ((0, 1 - fc), (1, fc)):
            r, c = r0 + dr, c0 + dc
            keep = (r >= 0) & (r < size) & (c >= 0) & (c < size)
            total += np.bincount((r * size + c)[keep], (weight * wr * wc)[keep], size * size)
    return np.minimum(total, 1).reshape(size, size).astype(np.float32)
