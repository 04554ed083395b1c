"""A comparison of encoders: its tables for the terminal, as Markdown and on a page, and its figures."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gravis_triton.comparison.results import SCORES, Comparison, Entry, Result
from gravis_triton.report.figures import COLORS, styled
from gravis_triton.report.html import Picture, Section, Table, write_page
from gravis_triton.run_summary import shown

_APART = 0.035  # of the axis between two encoders at one label fraction, so that error bars stay readable
_PANEL, _NAME = 3.3, 1.3  # widths in inches of a panel, and of an encoder's name


def write_comparison_page(comparison: Comparison, results: Sequence[Result], directory: Path, *, data: str) -> None:
    """Write report.html of a comparison, with links to the pages of its runs. data: name of the dataset."""
    drawn = {"label fraction": draw_against_labels}
    if comparison.curves:
        drawn["views"] = draw_against_views
    tables = [score_table(comparison, task, SCORES[task][0]) for task in comparison.tasks]
    sections = [Section("Scores", tables=tables)]
    for axis, draw in drawn.items():
        figures = {f"{shown(task)}: score against {axis}": draw(comparison, [task]) for task in comparison.tasks}
        pictures = [Picture.from_figure(figure, alt) for alt, figure in figures.items()]
        sections.append(Section(f"Score against {axis}", pictures=pictures))
    pages = sorted({result.directory.relative_to(directory) / "report.html" for result in results})
    links = [("/".join(page.parts[-3:-1]), str(page)) for page in pages if (directory / page).is_file()]
    title = f"Comparison with {comparison.baseline} on {data}"
    write_page(directory / "report.html", title, describe(comparison), sections, links=links)


def describe(comparison: Comparison) -> str:
    """How to read the tables, in one sentence."""
    seeds = sorted({len(entry.values) for entry in comparison.entries})
    equally = " with the same number of views" if comparison.baseline in comparison.curves else ""
    counts = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    return (
        f"Mean ± standard deviation over {counts} seed{'' if seeds == [1] else 's'}; differences from "
        f"{comparison.baseline}{equally} on the same images and seeds, with 95% bootstrap intervals."
    )


def score_table(comparison: Comparison, task: str, score: str) -> Table:
    """One row per encoder: for each label fraction, mean and standard deviation of a score over the seeds, and the
    difference from the baseline with its interval."""
    entries = {(entry.encoder, entry.label_fraction): entry for entry in comparison.of(task, score)}
    encoders, fractions = (list(dict.fromkeys(names)) for names in zip(*entries, strict=True))
    header = ["encoder"]
    for fraction in fractions:
        header += [f"{fraction * 100:g}% of labels", f"against {comparison.baseline}"]
    rows = [
        [name, *(text for fraction in fractions for text in _cells(entries.get((name, fraction))))] for name in encoders
    ]
    return Table(f"{shown(task)}: {shown(score)}", header, rows)


def _cells(entry: Entry | None) -> tuple[str, str]:
    if entry is None:
        return "", ""
    mean = f"{entry.mean:.3f}" + ("" if entry.spread is None else f" ± {entry.spread:.3f}")
    against = entry.against_baseline
    if against is None or np.isnan(against.difference):
        return mean, ""
    return mean, f"{against.difference:+.3f} [{against.low:+.3f}, {against.high:+.3f}]"


def markdown(comparison: Comparison) -> str:
    """All scores as Markdown tables, one section per task, the main score first."""
    blocks = [f"{describe(comparison)}\n"]
    for task in comparison.tasks:
        blocks.append(f"## {task}\n")
        for score in SCORES[task]:
            table = score_table(comparison, task, score)
            blocks.append(replace(table, header=[shown(score), *table.header[1:]]).markdown())
    return "\n".join(blocks)


def draw_against_labels(comparison: Comparison, tasks: Sequence[str]) -> Figure:
    """One panel per task, one line per encoder: mean of the main score over seeds, standard deviation as error bar."""
    encoders = list(dict.fromkeys(entry.encoder for entry in comparison.entries))

    def draw(axes: Axes, task: str) -> None:
        entries = comparison.of(task, SCORES[task][0])
        fractions = sorted({entry.label_fraction for entry in entries})
        width = max(1.0, np.log10(fractions[-1] / fractions[0]))  # of the axis in powers of ten
        for number, name in enumerate(encoders):
            own = sorted((e for e in entries if e.encoder == name), key=lambda entry: entry.label_fraction)
            shift = 10 ** (_APART * width * (number - (len(encoders) - 1) / 2))
            _draw_line(axes, [entry.label_fraction * shift for entry in own], own, name, number)
        axes.set_xlim(fractions[0] * 10 ** (-0.15 * width), fractions[-1] * 10 ** (0.15 * width))
        axes.set_xticks(fractions, [f"{fraction * 100:g}%" for fraction in fractions])
        axes.set_xlabel("fraction of training labels")

    return _draw_panels(tasks, encoders, draw)


def draw_against_views(comparison: Comparison, tasks: Sequence[str]) -> Figure:
    """One panel per task, one line per encoder of `curves`, at the largest label fraction; dashed lines: the other
    encoders."""
    curves = comparison.curves
    lengths = {name for curve in curves.values() for name in curve.values()}
    names = list(dict.fromkeys([*(e.encoder for e in comparison.entries if e.encoder not in lengths), *curves]))
    ticks = sorted({views for curve in curves.values() for views in curve})

    def draw(axes: Axes, task: str) -> None:
        most = max(entry.label_fraction for entry in comparison.of(task, SCORES[task][0]))
        entries = {e.encoder: e for e in comparison.of(task, SCORES[task][0]) if e.label_fraction == most}
        for number, name in enumerate(names):
            curve = {v: entries[length] for v, length in curves.get(name, {}).items() if length in entries}
            _draw_line(axes, list(curve), list(curve.values()), name, number)
            if name in entries:
                axes.axhline(entries[name].mean, color=COLORS[number % len(COLORS)], linestyle="--", label=name)
        axes.set_xticks(ticks, [f"{views:,}" for views in ticks])
        axes.set_xlabel(f"views in pre-training ({most * 100:g}% of labels)")

    return _draw_panels(tasks, names, draw)


@styled
def _draw_panels(tasks: Sequence[str], names: Sequence[str], draw: Callable[[Axes, str], None]) -> Figure:
    """One panel per task, and below them a legend in the given order."""
    width = _PANEL * len(tasks) + 0.4
    figure = Figure(figsize=(width, 4.0))
    handles: dict[str, Artist] = {}
    for axes, task in zip(figure.subplots(1, len(tasks), squeeze=False)[0], tasks, strict=True):
        axes.set_xscale("log")
        draw(axes, task)
        axes.minorticks_off()
        axes.set(ylabel=shown(SCORES[task][0]), title=shown(task))
        axes.grid(axis="y")
        handles |= {label: line for line, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    known = [name for name in names if name in handles]
    columns = min(len(known), int(width / _NAME))
    figure.legend([handles[name] for name in known], known, loc="outside lower center", ncols=columns)
    return figure


def _draw_line(axes: Axes, x: Sequence[float], entries: Sequence[Entry], name: str, number: int) -> None:
    if entries:
        color = COLORS[number % len(COLORS)]
        mean, spread = [entry.mean for entry in entries], [entry.spread or 0.0 for entry in entries]
        axes.errorbar(x, mean, yerr=spread, color=color, marker="o", elinewidth=1, label=name)
