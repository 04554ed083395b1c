"""Dermoscopic structures: those that darken (optical density) and those that shine or veil (painted over)."""

import numpy as np

from gravis_triton.data.datasets.synthetic.canvas import Array, cell_pattern, smooth_step, wave_noise
from gravis_triton.data.datasets.synthetic.lesion import Lesion
from gravis_triton.data.datasets.synthetic.traits import Traits


def modulation(lesion: Lesion, traits: Traits, rng: np.random.Generator) -> Array:
    """Factor (n,) on the lesion's density from network, globules, streaks, ridges and plugged openings."""
    total = np.ones_like(lesion.u)
    if traits.network:
        total += traits.network * _network(lesion, traits.disorder, rng)
    if traits.globules:
        total += traits.globules * _globules(lesion, traits.disorder, rng)
    if traits.streaks:
        near_border = np.exp(-(((lesion.depth - 0.02) / 0.2) ** 2))
        total += 1.1 * lesion.fingers * near_border
    if traits.ridges:
        total += traits.ridges * _ridges(lesion, rng)
    if traits.openings:
        total += traits.openings * _openings(lesion, rng)
    return np.maximum(total, 0.1)


def _network(lesion: Lesion, disorder: float, rng: np.random.Generator) -> Array:
    """A fine net of brown lines that fades towards the border; disorder makes meshes wide and uneven, lines thick
    and the net patchy, up to the border."""
    pitch = rng.uniform(0.045, 0.065) * (1 + 0.6 * disorder) / lesion.radius
    bend = np.float32((0.25 + 0.35 * disorder) * pitch)
    u = lesion.u + bend * wave_noise(lesion.u, lesion.v, rng, 3 * pitch)
    v = lesion.v + bend * wave_noise(lesion.u, lesion.v, rng, 3 * pitch)
    pattern = cell_pattern(u, v, rng, pitch, 0.6 + 0.4 * disorder)
    thickness = rng.uniform(0.22, 0.32) * (
        1 + (0.25 + 0.35 * disorder) * np.tanh(wave_noise(lesion.u, lesion.v, rng, 0.5))
    )
    lines = np.exp(-((pattern.gap / thickness) ** 2))
    seen = smooth_step(0.5 - disorder + 1.1 * wave_noise(lesion.u, lesion.v, rng, 0.7))
    fading = smooth_step((lesion.depth - 0.12 * (1 - disorder)) / np.float32(0.3 - 0.15 * disorder))
    return (0.8 + 0.7 * disorder) * (lines - 0.4) * seen * fading


def _globules(lesion: Lesion, disorder: float, rng: np.random.Generator) -> Array:
    """Dark clods of uneven size and place, cobbled where dense; disorder gathers them on one side."""
    total = np.zeros_like(lesion.u)
    for pitch, share in ((rng.uniform(0.10, 0.15), 0.5), (rng.uniform(0.06, 0.09), 0.6)):
        pitch = pitch / lesion.radius
        bend = np.float32(0.16 * pitch)
        u = lesion.u + bend * wave_noise(lesion.u, lesion.v, rng, 2 * pitch)
        v = lesion.v + bend * wave_noise(lesion.u, lesion.v, rng, 2 * pitch)
        pattern = cell_pattern(u, v, rng, pitch, 0.9)
        size = np.where(pattern.draw < share, 0.2 + 0.4 * pattern.draw, -1.0)
        total = np.maximum(total, smooth_step((size - pattern.nearest) / 0.18) * (0.6 + pattern.draw))
    side = rng.uniform(0, 2 * np.pi)
    lean = np.float32(np.cos(side)) * lesion.u + np.float32(np.sin(side)) * lesion.v
    gathered = smooth_step(1.0 - 1.4 * disorder + 2.0 * disorder * lean)
    return 1.3 * (total - 0.25) * gathered


def _ridges(lesion: Lesion, rng: np.random.Generator) -> Array:
    """Fissures between ridges, as on a brain's surface: dark lines where a banded noise changes sign."""
    wavelength = rng.uniform(0.17, 0.27) / lesion.radius
    field = wave_noise(lesion.u, lesion.v, rng, wavelength)
    return 0.9 * np.exp(-((field / 0.4) ** 2)) - 0.35


def _openings(lesion: Lesion, rng: np.random.Generator) -> Array:
    """Comedo-like openings: few, sharp, dark brown plugs of uneven size."""
    pattern = cell_pattern(lesion.u, lesion.v, rng, rng.uniform(0.13, 0.22) / lesion.radius, 0.95)
    size = np.where(pattern.draw < 0.6, 0.12 + 0.25 * pattern.draw, -1.0)
    return 1.5 * smooth_step((size - pattern.nearest) / 0.1) * (lesion.depth > 0.05)


def overlays(lesion: Lesion, traits: Traits, rng: np.random.Generator) -> list[tuple[Array, Array]]:
    """Layers to paint on top: opacity (n,) and color (3,) of blue-white veil, regression, milia-like cysts."""
    layers: list[tuple[Array, Array]] = []
    inside = smooth_step((lesion.depth - 0.08) / 0.12)
    if traits.veil:
        patch = _patch(lesion, rng, 0.5)
        layers.append((0.62 * traits.veil * patch * inside, np.array([0.56, 0.57, 0.66], np.float32)))
    if traits.regression:
        patch = _patch(lesion, rng, 0.45)
        layers.append((0.7 * traits.regression * patch * inside, np.array([0.88, 0.80, 0.79], np.float32)))
    if traits.cysts:
        pattern = cell_pattern(lesion.u, lesion.v, rng, rng.uniform(0.10, 0.17) / lesion.radius, 0.95)
        size = np.where(pattern.draw > 0.5, 0.08 + 0.16 * pattern.draw, -1.0)
        spots = smooth_step((size - pattern.nearest) / 0.18) * inside
        layers.append((0.75 * traits.cysts * spots, np.array([0.97, 0.93, 0.82], np.float32)))
    return layers


def _patch(lesion: Lesion, rng: np.random.Generator, extent: float) -> Array:
    """A soft-edged area off the center."""
    angle, far = rng.uniform(0, 2 * np.pi), rng.uniform(0.15, 0.5)
    du = lesion.u - np.float32(far * np.cos(angle))
    dv = lesion.v - np.float32(far * np.sin(angle))
    ragged = 0.3 * wave_noise(lesion.u, lesion.v, rng, 0.6)
    return smooth_step((extent - np.sqrt(du * du + dv * dv) * (1 + ragged)) / 0.22)
