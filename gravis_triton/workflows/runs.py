"""List runs, and write their pages."""

import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gravis_triton.errors import UserError
from gravis_triton.files import read_json, read_metrics
from gravis_triton.run_directory import RunDirectory
from gravis_triton.run_summary import job_of, result_of
from gravis_triton.settings.config import read_yaml
from gravis_triton.settings.jobs import ReportSettings, RunsSettings

_FILE_WIDTH = 200  # characters per line without a terminal


@dataclass(frozen=True, slots=True)
class ListedRun:
    """state: finished, running, or stopped at a step. changed: Unix time of the last change."""

    directory: str
    job: str
    model: str
    data: str
    state: str
    result: str
    changed: float


@dataclass(frozen=True, slots=True)
class RunsResult:
    """Runs under a directory, most recent first."""

    runs: tuple[ListedRun, ...]


def list_runs(settings: RunsSettings) -> RunsResult:
    """Print the finished, running and stopped runs under a directory. Raises UserError if it does not exist."""
    root = Path(settings.directory)
    if not root.is_dir():
        raise UserError(f"{root}: no such directory")
    listed = [_list_run(RunDirectory(file.parent), root) for file in root.rglob("config.yaml")]
    runs = sorted((run for run in listed if run is not None), key=lambda run: -run.changed)
    if settings.json:
        print(json.dumps([asdict(run) for run in runs], indent=2))
        return RunsResult(tuple(runs))
    table = Table("run", "job", "model", "data", "state", "result", "last change", box=SIMPLE_HEAD)
    for run in runs:
        changed = time.strftime("%Y-%m-%d %H:%M", time.localtime(run.changed))
        cells = (run.directory, run.job, run.model, run.data, run.state, run.result, changed)
        table.add_row(*map(escape, cells))
    console = Console(width=None if sys.stdout.isatty() else _FILE_WIDTH)
    console.print(table if runs else f"no runs under {root}")
    return RunsResult(tuple(runs))


def _list_run(run: RunDirectory, root: Path) -> ListedRun | None:
    """The run, or None if its config.yaml was not written by one, or cannot be read."""
    try:
        config = read_yaml(run.config)
        summary = read_json(run.summary) if run.summary.is_file() else {}
    except UserError:
        return None
    job = job_of(config)
    if job is None:
        return None
    files = [file for file in (run.config, run.metrics, run.summary) if file.is_file()]
    return ListedRun(
        directory=str(run.path.relative_to(root)),
        job=job,
        model=str(config.get("model") or config.get("encoder")),
        data=str(config.get("data")),
        state="finished" if summary else _state(run),
        result=result_of(summary) if summary else "",
        changed=max(file.stat().st_mtime for file in files),
    )


def _state(run: RunDirectory) -> str:
    if run.is_locked():
        return "running"
    try:
        lines = read_metrics(run.metrics)
    except UserError:
        return "damaged"
    return f"stopped at step {lines[-1]['step'] if lines else 0:,}"


@dataclass(frozen=True, slots=True)
class ReportResult:
    """pages: the files written; the page with all runs side by side comes last."""

    pages: tuple[Path, ...]


def write_report(settings: ReportSettings) -> ReportResult:
    """Write report.html for each run and, for several runs, a page that shows them side by side.

    Raises UserError for a directory without a finished run.
    """
    if not settings.runs:
        raise UserError("no runs given: list run directories; gravis runs shows them")
    from gravis_triton.report.run_page import write_run_page, write_runs_page  # imports matplotlib

    runs = [RunDirectory(path) for path in settings.runs]
    for run in runs:
        write_run_page(run)
    pages = [run.report for run in runs]
    if len(runs) > 1:
        pages.append(Path(settings.output))
        write_runs_page(runs, pages[-1])
    for page in pages:
        print(page)
    return ReportResult(tuple(pages))
