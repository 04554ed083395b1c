"""Metrics over training steps, one figure each, to stay readable on a narrow screen."""

from collections.abc import Mapping, Sequence
from typing import Any

from gravis_triton.report.figures import COLORS
from gravis_triton.report.page.html import Picture, new_page_figure, styled

Points = Sequence[tuple[int, float]]

_MOST = 500  # points drawn per curve


def metric_points(lines: Sequence[Mapping[str, Any]], name: str) -> Points:
    """(step, value) of a metric in the lines of metrics.jsonl."""
    return [(line["step"], line[name]) for line in lines if line.get(name) is not None]


def curve_pictures(panels: Mapping[str, Mapping[str, Points]]) -> list[Picture]:
    """panels: title -> name of a curve -> its points. Curves without points and panels without curves are left out."""
    known = {
        title: {name: points for name, points in curves.items() if points} for title, curves in panels.items()
    }
    with styled():
        return [_panel(title, curves) for title, curves in known.items() if curves]


def _panel(title: str, curves: Mapping[str, Points]) -> Picture:
    figure = new_page_figure(3.4, 2.5)
    axes = figure.subplots()
    for number, (name, points) in enumerate(curves.items()):
        x, y = zip(*points[:: max(1, len(points) // _MOST)], strict=True)
        marker = "o" if len(x) < 20 else None
        axes.plot(x, y, color=COLORS[number % len(COLORS)], label=name, marker=marker, markersize=3)
    axes.set(title=title, xlabel="step")
    if len(curves) > 1:
        axes.legend()
    return Picture.of_figure(figure, f"{title} over training steps: {', '.join(curves)}")
