"""A table with a row per image, computed by several processes in parts, so that interrupted jobs can resume."""

import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from glob import escape
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import torch
from accelerate import PartialState

from gravis_triton.data import ImageReference
from gravis_triton.data.datasets.table import OUTPUT_KEY
from gravis_triton.data.loading.loader import Pixels, decoded_loader
from gravis_triton.errors import UserError
from gravis_triton.files import atomic_write, checksum, writing
from gravis_triton.report.display import Display
from gravis_triton.settings.defaults import default_workers
from gravis_triton.settings.jobs import EmbedSettings, PredictSettings
from gravis_triton.training.setup import PATIENCE

_PART_ROWS = 256

Rows = Callable[[Sequence[int], Any], pa.Table]
"""A row for each image of a batch, from their numbers; from none and None: no rows."""


def join_processes() -> tuple[PartialState, Display]:
    """The processes started by `accelerate launch` or torchrun, and the display of the first one."""
    processes = PartialState(cpu=not torch.accelerator.is_available(), timeout=PATIENCE)
    return processes, Display(processes.is_main_process)


@dataclass(frozen=True, slots=True)
class ImageTable:
    """A .parquet or .csv file with a row per image, and its parts until it is finished.

    names: of the images, for messages. fingerprint: changes with anything that the rows depend on.
    """

    path: Path
    images: Sequence[ImageReference]
    names: Sequence[str]
    fingerprint: str

    @property
    def _parts(self) -> Path:
        return self.path.with_name(f".{self.path.name}-{self.fingerprint}")

    @property
    def _seal(self) -> Path:
        """Marks a CSV file as finished, like the metadata of a Parquet file."""
        return self.path.with_name(f".{self.path.name}.{self.fingerprint}")

    def is_begun(self) -> bool:
        """Whether an interrupted job left parts of this exact table."""
        return self._parts.is_dir()

    def is_finished(self) -> bool:
        """Whether an earlier job has computed this exact table, and it has not changed since."""
        if self.path.suffix == ".csv":
            return self.path.is_file() and self._seal.is_file() and self._seal.read_text() == checksum(self.path)
        try:
            metadata = pq.read_schema(self.path).metadata or {}
        except (pa.ArrowInvalid, OSError):
            return False
        return metadata.get(OUTPUT_KEY) == self.fingerprint.encode()

    def write(
        self,
        rows: Rows,
        settings: EmbedSettings | PredictSettings,
        display: Display,
        *,
        short_side: int,
        collate: Callable[[list[Pixels]], Any],
    ) -> None:
        """Compute the table in all processes, unless it is finished; returns in each of them once the file exists.

        short_side: of the images in pixels. collate: makes a batch of them for `rows`.
        An image that cannot be read is skipped, with a line on stderr. Raises UserError for an existing file that may
        not be overwritten, and a path that cannot be written to.
        """
        processes = PartialState()
        if self.is_finished() and not settings.overwrite:
            if processes.is_main_process:
                self._remove_parts()  # left if a process was killed
            display.print(f"{self.path} is already complete")
            return
        if self.path.exists() and not settings.overwrite and not self.is_begun():
            raise UserError(f"{self.path} exists: use --overwrite or another file")
        with writing(self.path):
            self._parts.mkdir(parents=True, exist_ok=True)
        processes.wait_for_everyone()

        batches = list(self._batches(processes, settings.batch_size))
        images = ([(index, self.images[index]) for index in batch] for _, batch in batches)
        workers = default_workers() if settings.num_workers is None else settings.num_workers
        loader = decoded_loader(images, short_side=short_side, collate=collate, workers=workers)
        done, total = 0, sum(len(batch) for _, batch in batches)
        with display.task(self.path.name) as progress:
            for part, group in groupby(zip(batches, loader, strict=True), key=lambda pair: pair[0][0]):
                tables = []
                for (_, indices), batch in group:
                    for index, reason in batch.skipped:
                        name = self.names[index]
                        print(f"skipped: {name}: cannot be read as an image ({reason})", file=sys.stderr)
                    tables.append(rows(batch.names, batch.images))
                    done += len(indices)
                    progress(done, total)
                with writing(part):
                    pq.write_table(pa.concat_tables(tables), part.with_suffix(".partial"))
                    part.with_suffix(".partial").replace(part)
        processes.wait_for_everyone()
        if processes.is_main_process:
            self._join()
        processes.wait_for_everyone()

    def _batches(self, processes: PartialState, size: int) -> Iterator[tuple[Path, range]]:
        """The batches of image numbers that a process has yet to compute, each with the file of its part."""
        starts = range(0, len(self.images), _PART_ROWS)
        for start in starts[processes.process_index :: processes.num_processes]:
            part, end = self._part(start), min(start + _PART_ROWS, len(self.images))
            if not part.exists():
                yield from ((part, range(first, min(first + size, end))) for first in range(start, end, size))

    def _part(self, start: int) -> Path:
        return self._parts / f"{start:09}.parquet"

    def _join(self) -> None:
        """Join the parts; the table appears complete or not at all."""
        files = [self._part(start) for start in range(0, len(self.images), _PART_ROWS)]
        schema = pq.read_schema(files[0]).with_metadata({OUTPUT_KEY: self.fingerprint.encode()})
        partial = self._parts / "joined"
        writer = pq.ParquetWriter if self.path.suffix == ".parquet" else pyarrow.csv.CSVWriter
        with writing(self.path), writer(partial, schema) as table:
            for file in files:
                table.write_table(pq.read_table(file).replace_schema_metadata(schema.metadata))
        partial.replace(self.path)
        if self.path.suffix == ".csv":
            for seal in self.path.parent.glob(f".{escape(self.path.name)}.*"):
                seal.unlink()
            atomic_write(self._seal, checksum(self.path))
        self._remove_parts()

    def _remove_parts(self) -> None:
        """Remove the parts of this table and of other tables with the same file name."""
        for parts in self.path.parent.glob(f".{escape(self.path.name)}-*"):
            shutil.rmtree(parts)
