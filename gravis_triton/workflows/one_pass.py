"""One pass over images by all processes into a table, shared by embedding and prediction."""

import sys
from collections.abc import Callable, Sequence
from datetime import timedelta

import pyarrow as pa
import torch
from accelerate import PartialState

from gravis_triton.data.datasets.records import ImageReference
from gravis_triton.data.loading.decoded import Collated
from gravis_triton.data.loading.loader import Pixels
from gravis_triton.prediction import TableFile, compute_rows
from gravis_triton.report import Display
from gravis_triton.settings import default_workers

_PATIENCE = timedelta(hours=12)  # processes wait for the slowest


def join_processes() -> tuple[PartialState, Display]:
    """The processes started by `accelerate launch` or torchrun, and the display of the first one."""
    processes = PartialState(cpu=not torch.accelerator.is_available(), timeout=_PATIENCE)
    return processes, Display(processes.is_main_process)


def one_pass(
    table: TableFile,
    images: Sequence[ImageReference],
    rows: Callable[[list[int], Collated | None], pa.Table],
    processes: PartialState,
    display: Display,
    *,
    names: Sequence[str],
    description: str,
    short_side: int,
    collate: Callable[[list[Pixels]], Collated],
    batch_size: int,
    workers: int | None,
    overwrite: bool,
) -> None:
    """Compute the table, unless it is finished; returns in every process once it exists.

    names: of the images, for the lines on stderr about unreadable ones. Raises UserError as `TableFile.prepare` does.
    """
    if table.is_finished() and not overwrite:
        if processes.is_main_process:
            table.remove_parts()  # left if a process was killed
        display.print(f"{table.path} is already complete")
        return
    table.prepare(overwrite=overwrite)
    processes.wait_for_everyone()
    with display.task(description) as progress:
        for index, reason in compute_rows(
            table,
            images,
            rows,
            short_side=short_side,
            collate=collate,
            batch_size=batch_size,
            workers=default_workers() if workers is None else workers,
            process=processes.process_index,
            processes=processes.num_processes,
            progress=progress,
        ):
            print(f"skipped: {names[index]}: cannot be read as an image ({reason})", file=sys.stderr)
    processes.wait_for_everyone()
    if processes.is_main_process:
        table.finish()
    processes.wait_for_everyone()
