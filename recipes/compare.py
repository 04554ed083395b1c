"""Compare encoders over tasks, label fractions and seeds: `python recipes/compare.py GRID.yaml --help`."""

import dataclasses
import gc
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated

import tyro
from accelerate import Accelerator
from accelerate.utils import patch_environment

import gravis_triton.comparison as comparison
import gravis_triton.report as report
import gravis_triton.training as training
from gravis_triton.comparison import Cell, Grid
from gravis_triton.data import open_collection
from gravis_triton.errors import UserError
from gravis_triton.files import write_whole
from gravis_triton.settings import RunSettings, parse_flags

_FILE_WIDTH = 200  # in a file no table need be folded


@dataclass(frozen=True)
class CompareSettings:
    """Compare encoders: a grid of encoders, tasks, label fractions and seeds, cell by cell; run again to go on."""

    grid: Annotated[str, tyro.conf.Positional] = str(
        Path(__file__).parent / "configs" / "compare-synthetic.yaml"
    )
    """YAML file with the grid; docs/comparison.md tells what is in it."""
    data: str | None = None
    """Source images, in place of the grid's."""
    output_dir: str | None = None
    """Where all cells and the comparison go, in place of the grid's."""


def main(args: Sequence[str] | None = None) -> int:
    settings = parse_flags(CompareSettings, args)
    grid = comparison.read_grid(Path(settings.grid))
    grid = dataclasses.replace(
        grid, data=settings.data or grid.data, output_dir=settings.output_dir or grid.output_dir
    )
    collection = open_collection(grid.data)  # a wrong --data is told before anything is computed
    try:
        cells = comparison.plan_cells(grid)
    except UserError as error:
        raise UserError(f"{settings.grid}: {error}") from error
    for cell in cells:
        comparison.refuse_contradiction(cell)

    # cell by cell, in all processes alike
    accelerator = training.start_accelerator(RunSettings(mixed_precision=grid.common.get("mixed_precision")))
    display = report.Display(accelerator.is_main_process)
    missing = [cell for cell in cells if not cell.finished]
    display.say(f"{len(cells):,} cells, {len(missing):,} to compute: {grid.output_dir}")
    accelerator.wait_for_everyone()
    status = 0
    for number, cell in enumerate(missing, 1):
        display.say(f"\ncell {number:,} of {len(missing):,}: {cell.name}")
        status = run_cell(cell, accelerator)
        if accelerator.is_main_process:  # a row a cell, as they come
            comparison.write_results_csv(
                Path(grid.output_dir) / "results.csv", comparison.read_results(cells)
            )
        if status:
            break
    if accelerator.is_main_process:
        report_comparison(grid, cells, collection.scored_classes, display)
    if status:
        display.say(f"stopped in {cell.name}; run again to go on")
    accelerator.wait_for_everyone()
    return status


def run_cell(cell: Cell, accelerator: Accelerator) -> int:
    """The status of the cell's recipe. Raises its UserError with the cell's name."""
    try:
        with patch_environment(fork_launched=1):  # its end_training leaves the process group to the next cell
            status: int = import_module(cell.recipe).main(list(cell.flags))  # the script beside this one
    except UserError as error:
        raise UserError(f"{cell.name}: {error} (what is finished stays; run again to go on)") from error
    gc.collect()  # model and optimiser are in reference cycles
    accelerator.wait_for_everyone()
    return status


def report_comparison(
    grid: Grid, cells: Sequence[Cell], scored: Sequence[str], display: report.Display
) -> None:
    """Scores, differences and picture of the finished cells, on the terminal and in the output directory."""
    output = Path(grid.output_dir)
    results = comparison.read_results(cells)
    if not results:
        return
    comparison.write_results_csv(output / "results.csv", results)
    compared = comparison.compare(results, baseline=grid.baseline, scored=scored)
    comparison.write_comparison(output / "comparison.json", compared)
    write_whole(output / "comparison.md", comparison.markdown(compared))
    report.write_figure(comparison.draw_comparison(compared), output / "comparison.png")
    display.say("")
    for table in comparison.score_tables(compared):
        display.console.print(table, width=None if display.console.is_terminal else _FILE_WIDTH)
    display.say(comparison.reading(compared))
    files = ", ".join(("results.csv", "comparison.md", "comparison.json", "comparison.png"))
    display.say(f"{files}: {output}")


if __name__ == "__main__":
    report.run_recipe(main)
