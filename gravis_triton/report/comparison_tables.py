"""Tables of a comparison, for the terminal and as Markdown."""

from collections.abc import Iterable
from typing import TypeVar

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from gravis_triton.comparison.results import SCORES, Comparison, Entry
from gravis_triton.run_summary import shown

Value = TypeVar("Value")


def score_tables(comparison: Comparison) -> list[Table]:
    """One table per task for its main score, one row per encoder: for each label fraction, mean and spread, and the
    difference from the baseline with its interval."""
    tables = []
    for task in comparison.tasks:
        header, rows = cells(comparison, task, SCORES[task][0])
        table = Table(box=SIMPLE_HEAD, title=f"{shown(task)}: {shown(SCORES[task][0])}", title_justify="left")
        for column in header:
            table.add_column(column, justify="left" if column == header[0] else "right")
        for row in rows:
            table.add_row(*map(Text, row))
        tables.append(table)
    return tables


def markdown(comparison: Comparison) -> str:
    """All scores as Markdown tables, one section per task, the main score first."""
    blocks = [reading(comparison)]
    for task in comparison.tasks:
        blocks.append(f"## {task}")
        for score in SCORES[task]:
            header, rows = cells(comparison, task, score)
            header = [f"{shown(score)}", *header[1:]]
            rule = ["---", *["---:"] * (len(header) - 1)]
            blocks.append("\n".join(f"| {' | '.join(row)} |" for row in (header, rule, *rows)))
    return "\n\n".join(blocks) + "\n"


def reading(comparison: Comparison) -> str:
    """How to read the tables, in one sentence."""
    seeds = sorted({len(entry.values) for entry in comparison.entries})
    equally = " with the same number of views" if comparison.baseline in comparison.curves else ""
    listed = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    return (
        f"Mean ± standard deviation over {listed} seed{'' if seeds == [1] else 's'}; differences from "
        f"{comparison.baseline}{equally} on the same images and seeds, with 95% bootstrap intervals."
    )


def cells(comparison: Comparison, task: str, score: str) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the table of a score."""
    entries = comparison.of(task, score)
    fractions = _different(entry.label_fraction for entry in entries)
    header = ["encoder"]
    for fraction in fractions:
        header += [f"{fraction * 100:g}% of labels", f"against {comparison.baseline}"]
    found = {(entry.encoder, entry.label_fraction): entry for entry in entries}
    rows = [
        [name, *(text for fraction in fractions for text in _texts(found.get((name, fraction))))]
        for name in _different(entry.encoder for entry in entries)
    ]
    return header, rows


def _texts(entry: Entry | None) -> tuple[str, str]:
    if entry is None:
        return "", ""
    spread = "" if entry.spread is None else f" ± {entry.spread:.3f}"
    against = entry.against_baseline
    if against is None or np.isnan(against.difference):
        return f"{entry.mean:.3f}{spread}", ""
    return (
        f"{entry.mean:.3f}{spread}",
        f"{against.difference:+.3f} [{against.low:+.3f}, {against.high:+.3f}]",
    )


def _different(values: Iterable[Value]) -> list[Value]:
    return list(dict.fromkeys(values))
