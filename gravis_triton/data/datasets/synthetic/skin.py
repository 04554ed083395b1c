"""Healthy skin, as optical density per color channel: pigment, blood, furrows and fine grain."""

import numpy as np

from gravis_triton.data.datasets.synthetic.canvas import Array, Canvas, cell_pattern, lattice_noise, strokes

# Optical density in red, green, blue of one unit of each skin chromophore; matched to images by eye.
MELANIN = np.array([0.50, 0.86, 1.16], np.float32)
BLOOD = np.array([0.10, 0.62, 0.52], np.float32)
DEEP_MELANIN = np.array([1.05, 0.82, 0.55], np.float32)  # seen through the dermis, pigment looks blue
_PALE = np.array([0.04, 0.13, 0.17], np.float32)


def paint_skin(canvas: Canvas, rng: np.random.Generator) -> Array:
    """Optical density (size, size, 3) of bare skin; its phototype runs from very fair to dark brown."""
    tone = 0.05 + 1.05 * rng.beta(1.0, 3.2)
    flush = rng.uniform(0.02, 0.32)
    pigment = np.full((canvas.size, canvas.size), tone, np.float32)
    pigment *= 1 + rng.uniform(0.02, 0.09) * (
        lattice_noise(canvas, rng, 5) + 0.6 * lattice_noise(canvas, rng, 14)
    )
    pigment += _furrows(canvas, rng) + _freckles(canvas, rng)
    blood = np.maximum(flush * (1 + 0.3 * lattice_noise(canvas, rng, 7)), 0)
    blood += _vessels(canvas, rng)
    grain = rng.uniform(0.006, 0.018) * (lattice_noise(canvas, rng, 40) + lattice_noise(canvas, rng, 90))
    density = _PALE + pigment[..., None] * MELANIN + blood[..., None] * BLOOD
    return density + grain[..., None]


def _furrows(canvas: Canvas, rng: np.random.Generator) -> Array:
    """The polygonal lines of the skin's surface."""
    pattern = cell_pattern(canvas.x, canvas.y, rng, rng.uniform(0.04, 0.08), 1.0)
    return np.float32(rng.uniform(-0.06, 0.06)) * np.exp(-((pattern.gap / 0.16) ** 2))


def _freckles(canvas: Canvas, rng: np.random.Generator) -> Array:
    """Soft brown spots, in one image in three."""
    if rng.uniform() > 0.33:
        return np.zeros_like(canvas.x)
    field = lattice_noise(canvas, rng, int(rng.integers(9, 18)))
    return np.float32(rng.uniform(0.05, 0.2)) * np.maximum(field - 1.2, 0)


def _vessels(canvas: Canvas, rng: np.random.Generator) -> Array:
    """Fine red meandering vessels, in one image in four."""
    if rng.uniform() > 0.25:
        return np.zeros_like(canvas.x)
    lines = int(rng.integers(8, 45))
    heading = rng.uniform(0, 2 * np.pi, (lines, 1)) + np.cumsum(rng.normal(0, 0.45, (lines, 9)), 1)
    step = rng.uniform(0.02, 0.06, (lines, 1, 1)) * np.stack([np.cos(heading), np.sin(heading)], 2)
    points = rng.uniform(-1, 1, (lines, 1, 2)) + np.cumsum(step, 1)
    cover = strokes(canvas, points, np.full((lines, 9), rng.uniform(0.006, 0.013)))
    return np.float32(rng.uniform(0.15, 0.45)) * cover
