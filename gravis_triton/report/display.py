"""Console output of the main process: a live display on a terminal and in a notebook, plain lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from rich.columns import Columns
from rich.console import Console, Group
from rich.jupyter import JupyterMixin
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

_PLAIN_SECONDS = 5.0  # between two plain lines about the same task


class Display:
    """Prints lines and shows the progress of tasks and training steps."""

    def __init__(self, enabled: bool = True) -> None:
        self.in_notebook = enabled and Console().is_jupyter
        is_terminal = sys.stdout.isatty() and not self.in_notebook  # ipykernel calls its stream a terminal
        # outside a terminal, a line is a record: do not wrap it, nor make it an HTML element of its own
        self.console = Console(
            quiet=not enabled,
            highlight=False,
            soft_wrap=not is_terminal,
            force_terminal=is_terminal,
            force_jupyter=False,
        )

    def print(self, text: str) -> None:
        self.console.print(text, markup=False)

    @contextmanager
    def task(self, description: str) -> Iterator[Callable[[int, int], None]]:
        """Show the progress of a task; yields a function to call with (done, total)."""
        if self.console.is_terminal:
            with _bar(self.console, transient=True) as bar:
                task = bar.add_task(description, total=None)
                yield lambda done, total: bar.update(task, completed=done, total=total)
            return
        last = time.monotonic()

        def print_line(done: int, total: int) -> None:
            nonlocal last
            if time.monotonic() - last > _PLAIN_SECONDS:
                last = time.monotonic()
                self.print(f"{description}: {done:,} of {total:,}")

        yield print_line

    @contextmanager
    def training(self, first_step: int, total_steps: int) -> Iterator[Callable[[Mapping[str, Any]], None]]:
        """Show training progress from `first_step`; yields a function to call with new metrics."""
        bar, start = _bar(self.console), time.monotonic()
        task = bar.add_task("training", total=total_steps, completed=first_step)
        with self._live(bar) as update:

            def show(metrics: Mapping[str, Any]) -> None:
                step, texts = metrics["step"], format_metrics(metrics).items()
                epoch = f"epoch {metrics['epoch']}/{metrics['epochs']}"
                if update is None:
                    line = "  ".join(f"{name} {text}" for name, text in texts)
                    seconds = (time.monotonic() - start) / max(step - first_step, 1) * (total_steps - step)
                    self.print(f"{epoch}  step {step}  {line}  eta {timedelta(seconds=round(seconds))}")
                    return
                bar.update(task, completed=step, description=epoch)
                cells = [Text.assemble((name, "cyan"), f"\n{text}", justify="right") for name, text in texts]
                update(_Rows(bar, Columns(cells, padding=(0, 2))))

            yield show

    @contextmanager
    def _live(self, renderable: Progress) -> Iterator[Callable[["_Rows"], None] | None]:
        """Show something; yields a function that replaces it, or None where lines are printed instead."""
        if self.in_notebook:
            from IPython.display import display

            yield display(renderable, display_id=True).update
        elif self.console.is_terminal:
            with Live(renderable, console=self.console, refresh_per_second=4) as live:
                yield live.update
        else:
            yield None


class _Rows(JupyterMixin, Group):
    """Renderables below each other, also in a notebook."""


_FORMATS = {
    "loss": ".4f",
    "lr": ".2e",
    "images_per_second": ".0f",
    "views_per_second": ".0f",
    "data_time": ".0%",
    "bad_steps": "d",
}
NOT_METRICS = ("step", "epoch", "epochs")


def format_metrics(metrics: Mapping[str, Any]) -> dict[str, str]:
    """Metrics as texts by their names in words; without the step, and without bad steps if there are none."""
    return {
        name.replace("_per_second", "/s").replace("_", " "): f"{value:{_FORMATS.get(name, '.3f')}}"
        for name, value in metrics.items()
        if name not in NOT_METRICS and not (name == "bad_steps" and not value)
    }


def _bar(console: Console, *, transient: bool = False) -> Progress:
    times = (TimeElapsedColumn(), TextColumn("eta"), TimeRemainingColumn())
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), *times)
    return Progress(*columns, console=console, transient=transient)
