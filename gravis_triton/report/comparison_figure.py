"""Figures of a comparison: score against label fraction, and against the views encoded in pre-training."""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gravis_triton.comparison.results import SCORES, Comparison, Entry
from gravis_triton.report.figures import COLORS, new_figure, plain_axes
from gravis_triton.run_summary import shown

_APART = 0.035  # of the axis between two encoders at one label fraction, so that error bars stay readable
_PANEL, _NAME = 3.3, 1.3  # widths in inches of a panel, and of an encoder's name


def draw_comparison(comparison: Comparison, tasks: Sequence[str]) -> Figure:
    """One panel per task, one line per encoder: mean of the main score over seeds, standard deviation as error bar."""
    encoders = list(dict.fromkeys(entry.encoder for entry in comparison.entries))
    return _panels(
        tasks, encoders, lambda axes, task: _draw_task(axes, task, _main_scores(comparison, task), encoders)
    )


def draw_against_views(comparison: Comparison, tasks: Sequence[str]) -> Figure:
    """One panel per task, one line per encoder of `curves`, at the largest label fraction; dashed lines: the other
    encoders."""
    of_curves = {name for curve in comparison.curves.values() for name in curve.values()}
    others = [entry.encoder for entry in comparison.entries if entry.encoder not in of_curves]
    names = list(dict.fromkeys([*others, *comparison.curves]))
    return _panels(tasks, names, lambda axes, task: _draw_views(axes, task, comparison, names))


def _main_scores(comparison: Comparison, task: str) -> list[Entry]:
    return comparison.of(task, SCORES[task][0])


def _panels(tasks: Sequence[str], names: Sequence[str], draw: Callable[[Axes, str], None]) -> Figure:
    """One panel per task, and below them a legend in the given order."""
    width = _PANEL * len(tasks) + 0.4
    figure = new_figure(width, 4.0)
    panels = figure.subplots(1, len(tasks), squeeze=False)[0]
    for axes, task in zip(panels, tasks, strict=True):
        draw(axes, task)
        axes.minorticks_off()
        axes.set(ylabel=shown(SCORES[task][0]), title=shown(task))
        axes.grid(axis="y", color="0.9")
        axes.set_axisbelow(True)
        plain_axes(axes)
    handles = {
        label: line for axes in panels for line, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    known = [name for name in names if name in handles]
    figure.legend(
        [handles[name] for name in known],
        known,
        loc="outside lower center",
        ncols=min(len(known), int(width / _NAME)),
        frameon=False,
    )
    return figure


def _draw_views(axes: Axes, task: str, comparison: Comparison, names: Sequence[str]) -> None:
    entries = _main_scores(comparison, task)
    most = max(entry.label_fraction for entry in entries)
    found = {entry.encoder: entry for entry in entries if entry.label_fraction == most}
    for number, name in enumerate(names):
        color = COLORS[number % len(COLORS)]
        curve = [
            (views, found[one]) for views, one in comparison.curves.get(name, {}).items() if one in found
        ]
        if curve:
            _draw_line(axes, [views for views, _ in curve], [entry for _, entry in curve], name, color)
        elif name in found:
            axes.axhline(found[name].mean, color=color, linestyle="--", linewidth=1.2, label=name)
    ticks = sorted({views for curve in comparison.curves.values() for views in curve})
    axes.set_xscale("log")
    axes.set_xticks(ticks, [f"{views:,}" for views in ticks])
    axes.set(xlabel=f"views in pre-training ({most * 100:g}% of labels)")


def _draw_line(axes: Axes, x: Sequence[float], entries: Sequence[Entry], name: str, color: str) -> None:
    axes.errorbar(
        x,
        [entry.mean for entry in entries],
        yerr=[entry.spread or 0.0 for entry in entries],
        color=color,
        marker="o",
        markersize=4,
        linewidth=1.5,
        elinewidth=1,
        capsize=2,
        label=name,
    )


def _draw_task(axes: Axes, task: str, entries: list[Entry], encoders: list[str]) -> None:
    fractions = sorted({entry.label_fraction for entry in entries})
    width = max(1.0, np.log10(fractions[-1] / fractions[0]))  # of the axis in powers of ten
    for number, name in enumerate(encoders):
        own = sorted((e for e in entries if e.encoder == name), key=lambda e: e.label_fraction)
        if not own:
            continue
        shift = 10 ** (_APART * width * (number - (len(encoders) - 1) / 2))
        x = [entry.label_fraction * shift for entry in own]
        _draw_line(axes, x, own, name, COLORS[number % len(COLORS)])
    axes.set_xscale("log")
    axes.set_xlim(fractions[0] * 10 ** (-0.15 * width), fractions[-1] * 10 ** (0.15 * width))
    axes.set_xticks(fractions, [f"{fraction * 100:g}%" for fraction in fractions])
    axes.set(xlabel="fraction of training labels")
