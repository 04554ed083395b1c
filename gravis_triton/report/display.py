"""Console output of the main process: a live display on a terminal, plain lines elsewhere."""

import itertools
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from rich.console import Console, Group
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from gravis_triton.training.metrics import StepMetrics

_CROWDED = 0.3  # of the time
_SECONDS_BETWEEN_WARNINGS = 600.0
_PLAIN_SECONDS = 5.0  # between two plain lines about the same task


class Display:
    """Prints lines and shows the progress of tasks and training steps."""

    def __init__(self, enabled: bool = True) -> None:
        # outside a terminal, a line is a record: do not wrap it
        self.console = Console(quiet=not enabled, highlight=False, soft_wrap=not sys.stdout.isatty())

    def print(self, text: str) -> None:
        self.console.print(text, markup=False)

    @contextmanager
    def task(self, description: str) -> Iterator[Callable[[int, int], None]]:
        """Show the progress of a task; yields a function to call with (done, total)."""
        if not self.console.is_terminal:
            yield self._plain_task(description)
            return
        with Progress(*_bar_columns(), console=self.console, transient=True) as bar:
            task = bar.add_task(description, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)

    def _plain_task(self, description: str) -> Callable[[int, int], None]:
        last = time.monotonic()

        def report(done: int, total: int) -> None:
            nonlocal last
            if time.monotonic() - last > _PLAIN_SECONDS:
                last = time.monotonic()
                self.print(f"{description}: {done:,} of {total:,}")

        return report

    @contextmanager
    def training(self, first_step: int, total_steps: int) -> Iterator[Callable[[StepMetrics], None]]:
        """Show training progress from `first_step`; yields a function to call with new metrics."""
        start = time.monotonic()

        def remaining(step: int) -> float:
            return (time.monotonic() - start) / max(step - first_step, 1) * (total_steps - step)

        warn = _CrowdingWarning(self.print)
        if not self.console.is_terminal:

            def show_line(metrics: StepMetrics) -> None:
                self.print(f"{metrics.line()}  eta {_clock(remaining(metrics.step))}")
                warn(metrics)

            yield show_line
            return
        bar = Progress(*_bar_columns(), console=self.console)
        task = bar.add_task("training", total=total_steps, completed=first_step)
        with Live(bar, console=self.console, refresh_per_second=4) as live:

            def show(metrics: StepMetrics) -> None:
                bar.update(
                    task, completed=metrics.step, description=f"epoch {metrics.epoch}/{metrics.epochs}"
                )
                warn(metrics)
                live.update(Group(bar, *_metrics_tables(metrics.texts(), self.console.width)))

            yield show


class _CrowdingWarning:
    """Warns, at most every ten minutes, if other processes occupy the cores."""

    def __init__(self, print_line: Callable[[str], None]) -> None:
        self.print_line, self.last = print_line, -math.inf

    def __call__(self, metrics: StepMetrics) -> None:
        if metrics.core_wait > _CROWDED and time.monotonic() - self.last > _SECONDS_BETWEEN_WARNINGS:
            self.last = time.monotonic()
            several = torch.get_num_threads() > 1
            self.print_line(
                f"warning: threads wait for a CPU core {metrics.core_wait:.0%} of the time, as other processes use the "
                + ("cores; --cpu-threads 1 may be faster" if several else "cores")
            )


def _bar_columns() -> tuple[
    TextColumn, BarColumn, MofNCompleteColumn, TimeElapsedColumn, TextColumn, TimeRemainingColumn
]:
    return (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("eta"),
        TimeRemainingColumn(),
    )


def _metrics_tables(texts: Mapping[str, str], width: int) -> list[Table]:
    """Names above values, in as many tables as the width requires."""
    tables: list[Table] = []
    free = 0
    for name, text in texts.items():
        needed = max(len(name), len(text)) + 2  # a space on either side
        if needed > free:
            tables.append(Table(box=None, pad_edge=False))
            free = width
        tables[-1].add_column(Text(name, "cyan"), justify="right", no_wrap=True)
        free -= needed
    values = iter(texts.values())
    for table in tables:
        table.add_row(*itertools.islice(values, len(table.columns)))
    return tables


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
