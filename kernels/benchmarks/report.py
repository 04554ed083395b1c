"""Benchmark results as a terminal table and JSON."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import quantiles
from typing import Any

from measure import Machine


@dataclass
class Row:
    """One peer at one batch size, in seconds and bytes. note: why numbers are missing."""

    loss: str
    peer: str
    sources: int
    views: int
    batch: int
    note: str = ""
    first_call: float | None = None
    forward: list[float] = field(default_factory=list)
    forward_backward: list[float] = field(default_factory=list)
    extra_bytes: int | None = None
    gradient_error: float | None = None  # relative RMS against float64
    times_of_subject: float | None = None  # median forward + backward time relative to the batch's first row
    share_of_bound: float | None = None


def percentiles(samples: list[float]) -> tuple[float, float, float] | None:
    """p20, p50 and p80."""
    if not samples:
        return None
    if len(samples) == 1:
        return samples[0], samples[0], samples[0]
    cuts = quantiles(samples, n=10, method="inclusive")
    return cuts[1], cuts[4], cuts[7]


def median(samples: list[float]) -> float | None:
    cuts = percentiles(samples)
    return None if cuts is None else cuts[1]


HEADER = (
    "loss",
    "batch",
    "implementation",
    "forward p20/p50/p80",
    "forward + backward p20/p50/p80",
    "time / ours",
    "extra memory",
    "gradient error",
    "first call",
    "share of bound",
)


def show(rows: list[Row], machine: Machine) -> None:
    """Print a table, with rich if installed, else in plain columns."""
    title = f"{machine.device}, {machine.threads} threads, torch {machine.torch}"
    cells = [_cells(row) for row in rows]
    try:
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        widths = [max(map(len, column)) for column in zip(HEADER, *cells, strict=True)]
        print(title)
        for line in (HEADER, *cells):
            print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
        return
    table = Table(*HEADER, title=title)
    for line in cells:
        table.add_row(*line)
    console = Console()
    Console(width=max(console.width, 180) if not console.is_terminal else None).print(table)


def _cells(row: Row) -> tuple[str, ...]:
    place = (row.loss, f"{row.sources} x {row.views} = {row.batch}", row.peer)
    if row.note and not row.forward_backward:
        return (*place, row.note, "", "", "", "", "", "")
    return (
        *place,
        _time(percentiles(row.forward)),
        _time(percentiles(row.forward_backward)),
        "" if row.times_of_subject is None else f"{row.times_of_subject:.3g}",
        "not measured" if row.extra_bytes is None else _memory(row.extra_bytes),
        "" if row.gradient_error is None else f"{row.gradient_error:.1e}",
        "" if row.first_call is None else _time((row.first_call,)),
        "" if row.share_of_bound is None else f"{row.share_of_bound:.0%}",
    )


def _time(seconds: tuple[float, ...] | None) -> str:
    if seconds is None:
        return "not measured"
    unit, factor = ("s", 1.0) if max(seconds) >= 1 else ("ms", 1e3)
    return " / ".join(f"{value * factor:.3g}" for value in seconds) + f" {unit}"


def _memory(size: int) -> str:
    return f"{size / 2**30:.2f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"


def write_json(path: Path, rows: list[Row], machine: Machine, arguments: dict[str, Any]) -> None:
    """Percentiles instead of samples."""
    results = []
    for row in rows:
        result = asdict(row)
        for name in ("forward", "forward_backward"):
            result[f"{name}_p20_p50_p80"] = percentiles(result.pop(name))
        results.append(result)
    content = {"machine": asdict(machine), "arguments": arguments, "units": "s, bytes", "results": results}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")
