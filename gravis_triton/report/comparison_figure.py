"""The comparison as a figure: score against label fraction."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gravis_triton.comparison.against_baseline import Comparison, Entry
from gravis_triton.comparison.results import SCORES
from gravis_triton.report.figures import COLORS, new_figure, plain_axes
from gravis_triton.run_summary import shown

_APART = 0.035  # of the axis between two encoders at one label fraction, so that error bars stay readable
_PANEL, _NAME = 3.3, 1.3  # inches of width of a task, and of the name of an encoder


def draw_comparison(comparison: Comparison, tasks: Sequence[str]) -> Figure:
    """A panel a task, a line an encoder: the mean of the main score over seeds, its standard deviation as error bar."""
    encoders = list(dict.fromkeys(entry.encoder for entry in comparison.entries))
    width = _PANEL * len(tasks) + 0.4
    figure = new_figure(width, 4.0)
    panels = figure.subplots(1, len(tasks), squeeze=False)[0]
    for axes, task in zip(panels, tasks, strict=True):
        _draw_task(axes, task, comparison.of(task, SCORES[task][0]), encoders)
    handles = {
        label: line for axes in panels for line, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    known = [name for name in encoders if name in handles]
    figure.legend(
        [handles[name] for name in known],
        known,
        loc="outside lower center",
        ncols=min(len(known), int(width / _NAME)),
        frameon=False,
    )
    return figure


def _draw_task(axes: Axes, task: str, entries: list[Entry], encoders: list[str]) -> None:
    fractions = sorted({entry.label_fraction for entry in entries})
    width = max(1.0, np.log10(fractions[-1] / fractions[0]))  # of the axis in powers of ten
    for number, name in enumerate(encoders):
        own = sorted((e for e in entries if e.encoder == name), key=lambda e: e.label_fraction)
        if not own:
            continue
        shift = 10 ** (_APART * width * (number - (len(encoders) - 1) / 2))
        axes.errorbar(
            [entry.label_fraction * shift for entry in own],
            [entry.mean for entry in own],
            yerr=[entry.spread or 0.0 for entry in own],
            color=COLORS[number % len(COLORS)],
            marker="o",
            markersize=4,
            linewidth=1.5,
            elinewidth=1,
            capsize=2,
            label=name,
        )
    axes.set_xscale("log")
    axes.set_xlim(fractions[0] * 10 ** (-0.15 * width), fractions[-1] * 10 ** (0.15 * width))
    axes.set_xticks(fractions, [f"{fraction * 100:g} %" for fraction in fractions])
    axes.minorticks_off()
    axes.set(xlabel="share of the training labels", ylabel=shown(SCORES[task][0]), title=shown(task))
    axes.grid(axis="y", color="0.9")
    axes.set_axisbelow(True)
    plain_axes(axes)
