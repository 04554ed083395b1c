"""Artifacts of skin and camera, the same in all classes: hairs, ruler, bubbles, light."""

import numpy as np

from gravis_triton.data.datasets.synthetic.canvas import Array, Canvas, lattice_noise, smooth_step, strokes


def add_hairs(image: Array, canvas: Canvas, rng: np.random.Generator) -> None:
    """Paint curved, tapered hairs, dark or light, into `image` (size, size, 3), in one image in three."""
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
    cover = strokes(canvas, points, thickness * np.linspace(1.0, 0.25, len(t)))[..., None]
    light = rng.uniform() < 0.2
    color = rng.uniform(0.75, 0.9) if light else rng.uniform(0.05, 0.3)
    tint = np.array([1.0, 0.9, 0.8], np.float32) * np.float32(color)
    image += 0.85 * cover * (tint - image)


def add_ruler(image: Array, canvas: Canvas, rng: np.random.Generator) -> None:
    """Paint a ruler's dark marks near the frame's edge, in one image in four."""
    if rng.uniform() > 0.25:
        return
    angle = rng.integers(0, 4) * np.pi / 2 + rng.normal(0, 0.15)
    along = np.array([np.cos(angle), np.sin(angle)])
    inwards = np.array([-along[1], along[0]])
    start, spacing = rng.uniform(-0.9, 0.1), rng.uniform(0.06, 0.12)
    marks = int(rng.integers(8, 18))
    at = start + spacing * np.arange(marks)
    depth = np.where(np.arange(marks) % 5 == 0, 0.12, 0.07) * rng.uniform(0.7, 1.2)
    edge = -rng.uniform(0.8, 0.95) * inwards
    foot = edge + at[:, None] * along
    ticks = np.stack([foot, foot + depth[:, None] * inwards], 1)
    lines = np.concatenate([ticks, [[foot[0], foot[-1]]]]) if rng.uniform() < 0.6 else ticks
    cover = strokes(canvas, lines, np.full(lines.shape[:2], rng.uniform(0.012, 0.02)))[..., None]
    image += 0.8 * cover * (np.float32(rng.uniform(0.05, 0.25)) - image)


def add_bubbles(image: Array, canvas: Canvas, rng: np.random.Generator) -> None:
    """Paint gel bubbles (a rim lit on one side, a highlight) in one image in four."""
    if rng.uniform() > 0.25:
        return
    light = rng.uniform(0, 2 * np.pi)
    for _ in range(int(rng.integers(1, 9))):
        cx, cy = rng.uniform(-1, 1, 2)
        radius = np.exp(rng.uniform(np.log(0.025), np.log(0.14)))
        first = [int((c - 1.5 * radius + 1) / canvas.pitch) for c in (cy, cx)]
        last = [int((c + 1.5 * radius + 1) / canvas.pitch) + 1 for c in (cy, cx)]
        window = tuple(slice(max(a, 0), max(b, 0)) for a, b in zip(first, last, strict=True))
        dx, dy = (canvas.x[window] - cx) / radius, (canvas.y[window] - cy) / radius
        distance = np.hypot(dx, dy)
        lit = np.cos(np.arctan2(dy, dx) - light)
        rim = np.exp(-(((distance - 0.9) / 0.13) ** 2))
        spot = np.exp(-((dx - 0.5 * np.cos(light)) ** 2 + (dy - 0.5 * np.sin(light)) ** 2) / 0.03)
        gain = 0.06 * (distance < 1) + 0.22 * rim * lit + 0.45 * spot
        image[window] += gain[..., None].astype(np.float32)


def shine(image: Array, canvas: Canvas, rng: np.random.Generator) -> Array:
    """The image under uneven light and a camera's color cast, exposure and dark corners."""
    angle, slope = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.16)
    level = 1 + slope * (np.cos(angle) * canvas.x + np.sin(angle) * canvas.y)
    level += 0.03 * lattice_noise(canvas, rng, 3)
    cx, cy = rng.normal(0, 0.07, 2)
    from_center = np.hypot(canvas.x - cx, canvas.y - cy)
    level -= rng.uniform(0, 0.16) * from_center**2
    warm, green = rng.normal(0, 0.04), rng.normal(0, 0.015)
    cast = np.exp([warm, green, -1.2 * warm])
    lit = (image * (level[..., None] * cast * rng.uniform(0.86, 1.1))).astype(np.float32)
    if rng.uniform() < 0.3:
        radius, blur = rng.uniform(1.0, 1.3), rng.uniform(0.02, 0.1)
        lit *= smooth_step((radius - from_center) / np.float32(blur))[..., None]
        lit += 0.02
    return lit
