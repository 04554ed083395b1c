"""Write the pages of finished runs, and show several side by side."""

from dataclasses import dataclass
from pathlib import Path

from gravis_triton.comparison.results import read_run_scores
from gravis_triton.errors import UserError
from gravis_triton.report.run_page import write_run_page
from gravis_triton.report.runs_page import write_runs_page
from gravis_triton.run_directory import RunDirectory
from gravis_triton.run_summary import changed_from_defaults, read_run
from gravis_triton.settings import ReportSettings


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
    runs = [RunDirectory(path) for path in settings.runs]
    for run in runs:
        write_run_report(run)
    pages = [run.report for run in runs]
    if len(runs) > 1:
        pages.append(Path(settings.output))
        write_runs_page(runs, pages[-1])
    for page in pages:
        print(page)
    return ReportResult(tuple(pages))


def write_run_report(run: RunDirectory) -> None:
    """Write report.html of a finished run. Raises UserError for a directory without one."""
    config, summary = read_run(run)
    write_run_page(run, config, summary, read_run_scores(run, summary), changed_from_defaults(config))
