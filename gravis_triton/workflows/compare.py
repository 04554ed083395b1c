"""Compare encoders over tasks, label fractions and seeds."""

import dataclasses
import gc
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.markdown import Markdown

import gravis_triton.comparison.results as results
from gravis_triton.comparison.grid import Grid, PlannedRun, check_consistent, check_encoders, plan_runs, read_grid
from gravis_triton.comparison.results import Comparison
from gravis_triton.data import Collection, open_collection
from gravis_triton.errors import Interrupted, UserError
from gravis_triton.files import atomic_write
from gravis_triton.report import comparison_page
from gravis_triton.report.display import Display
from gravis_triton.report.figures import write_figure
from gravis_triton.run_directory import release_locks
from gravis_triton.settings.config import find_config
from gravis_triton.settings.jobs import CompareSettings
from gravis_triton.training.setup import start_accelerator
from gravis_triton.workflows.evaluate import evaluate
from gravis_triton.workflows.finetune import finetune_classification, finetune_segmentation
from gravis_triton.workflows.pretrain import pretrain

_FILE_WIDTH = 200  # of tables in a file, to avoid wrapping
WORKFLOWS: Mapping[str, Callable[[Any], object]] = {
    "pretrain": pretrain,
    "evaluate": evaluate,
    "classification": finetune_classification,
    "segmentation": finetune_segmentation,
}


@dataclass(frozen=True, slots=True)
class CompareResult:
    """directory: contains all runs and the comparison. comparison: None in all processes but the first."""

    directory: Path
    comparison: Comparison | None


def compare(settings: CompareSettings) -> CompareResult:
    """Execute the missing runs of a grid, then compare the encoders with the grid's baseline.

    Raises UserError for anything the user can fix; finished runs are kept, and the next call continues.
    """
    file = find_config(settings.grid)
    grid = read_grid(file)
    grid = dataclasses.replace(grid, data=settings.data or grid.data, output_dir=settings.output_dir or grid.output_dir)
    try:
        check_encoders(grid)
        runs = plan_runs(grid)
    except UserError as error:
        raise UserError(f"{file}: {error}") from error
    for run in runs:
        check_consistent(run)
    collection = open_collection(grid.data, **runs[0].settings.reading())  # a wrong --data fails before anything runs

    # one run after another, the same in all processes
    accelerator = start_accelerator(runs[0].settings)
    display = Display(accelerator.is_main_process)
    missing = [run for run in runs if not run.finished]
    output = Path(grid.output_dir)
    display.print(f"{len(runs):,} runs, {len(missing):,} to compute: {output}")
    accelerator.wait_for_everyone()
    try:
        for number, run in enumerate(missing, 1):
            display.print(f"\nrun {number:,} of {len(missing):,}: {run.name}")
            _run(run)
            accelerator.wait_for_everyone()
            if accelerator.is_main_process:
                results.write_results_csv(output / "results.csv", results.read_results(runs))
    except (UserError, Interrupted):
        if accelerator.is_main_process:
            with suppress(UserError):  # the first error is the one to report
                _compare_finished(grid, runs, collection, display)
        raise
    compared = _compare_finished(grid, runs, collection, display) if accelerator.is_main_process else None
    accelerator.wait_for_everyone()
    return CompareResult(output, compared)


def _run(run: PlannedRun) -> None:
    """Execute a run. Its UserError or Interrupted is raised with the name of the run."""
    try:
        WORKFLOWS[run.task](run.settings)
    except UserError as error:
        raise UserError(f"{run.name}: {error} (finished runs are kept; start again to continue)") from error
    except Interrupted as error:
        raise Interrupted(f"{run.name}: {error}; start the comparison again to continue", error.signal) from error
    finally:
        release_locks()
    gc.collect()  # model and optimizer are in reference cycles


def _compare_finished(
    grid: Grid, runs: Sequence[PlannedRun], collection: Collection, display: Display
) -> Comparison | None:
    """Print and write scores, differences and figures of the finished runs; None if there are none."""
    output = Path(grid.output_dir)
    finished = results.read_results(runs)
    if not finished:
        return None
    results.write_results_csv(output / "results.csv", finished)
    compared = results.compare(finished, baseline=grid.baseline, scored=collection.scored_classes, curves=grid.curves)
    results.write_comparison(output / "comparison.json", compared)
    text = comparison_page.markdown(compared)
    atomic_write(output / "comparison.md", text)
    figures = {"comparison.png": comparison_page.draw_against_labels(compared, compared.tasks)}
    if compared.curves:
        figures["comparison_views.png"] = comparison_page.draw_against_views(compared, compared.tasks)
    for name, figure in figures.items():
        write_figure(figure, output / name, caption=collection.name)
    comparison_page.write_comparison_page(compared, finished, output, data=collection.name)
    display.console.print(Markdown(text), width=None if display.console.is_terminal else _FILE_WIDTH)
    files = ", ".join(("results.csv", "comparison.md", "comparison.json", *figures, "report.html"))
    display.print(f"{files}: {output}")
    return compared
