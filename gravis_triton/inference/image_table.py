"""A table with a row per image, computed by several processes in parts, so that interrupted jobs can resume."""

import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from glob import escape
from pathlib import Path
from typing import Any, Protocol

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
from gravis_triton.models import Preprocessing
from gravis_triton.report.display import Display
from gravis_triton.settings import EmbedSettings, PredictSettings, default_workers

_PART_ROWS = 256
_PATIENCE = timedelta(hours=12)  # processes wait for the slowest


class Rows(Protocol):
    """Rows about images. verb: what computing them is called. names: of the images, for messages."""

    verb: str
    images: Sequence[ImageReference]
    names: Sequence[str]
    preprocess: Preprocessing

    def collate(self, images: list[Pixels], /) -> Any:
        """A batch of images, each with a short side of `preprocess.cache_size` pixels."""
        ...

    def fingerprint(self) -> str:
        """A short string that changes with anything that the rows depend on."""
        ...

    def __call__(self, indices: Sequence[int], batch: Any | None, /) -> pa.Table:
        """A row for each of the images `indices`, which are in the batch; no row and None if all are unreadable."""
        ...


def join_processes() -> tuple[PartialState, Display]:
    """The processes started by `accelerate launch` or torchrun, and the display of the first one."""
    processes = PartialState(cpu=not torch.accelerator.is_available(), timeout=_PATIENCE)
    return processes, Display(processes.is_main_process)


def write_table(
    table: "TableFile",
    rows: Rows,
    processes: PartialState,
    display: Display,
    settings: EmbedSettings | PredictSettings,
) -> None:
    """Compute a table in all processes, unless it is finished; returns in each of them once the file exists.

    An image that cannot be read is skipped, with a line on stderr. Raises UserError as `TableFile.prepare` does.
    """
    if table.is_finished() and not settings.overwrite:
        if processes.is_main_process:
            table.remove_parts()  # left if a process was killed
        display.print(f"{table.path} is already complete")
        return
    table.prepare(overwrite=settings.overwrite)
    processes.wait_for_everyone()
    parts = table.unfinished(processes.process_index, processes.num_processes)
    with display.task(rows.verb) as progress:
        for index, reason in _write_parts(table, parts, rows, settings, progress):
            print(f"skipped: {rows.names[index]}: cannot be read as an image ({reason})", file=sys.stderr)
    processes.wait_for_everyone()
    if processes.is_main_process:
        table.finish()
    processes.wait_for_everyone()


def _write_parts(
    table: "TableFile",
    parts: Sequence[range],
    rows: Rows,
    settings: EmbedSettings | PredictSettings,
    progress: Callable[[int, int], None],
) -> Iterator[tuple[int, str]]:
    """Compute and write parts; yields every image that cannot be read, with the reason."""
    size = settings.batch_size
    batches = [list(part[first : first + size]) for part in parts for first in range(0, len(part), size)]
    ends = {part[-1]: part.start for part in parts}
    images = ([(index, rows.images[index]) for index in batch] for batch in batches)
    workers = default_workers() if settings.num_workers is None else settings.num_workers
    loader = decoded_loader(images, short_side=rows.preprocess.cache_size, collate=rows.collate, workers=workers)
    finished: list[pa.Table] = []
    done, total = 0, sum(map(len, parts))
    for indices, batch in zip(batches, loader, strict=True):
        yield from batch.skipped
        finished.append(rows(batch.names, batch.images))
        done += len(indices)
        progress(done, total)
        if indices[-1] in ends:
            table.write_part(ends[indices[-1]], pa.concat_tables(finished))
            finished = []


@dataclass(frozen=True, slots=True)
class TableFile:
    """The table and its parts on disk.

    path: a .parquet or .csv file. images: number of images. fingerprint: of everything the rows depend on.
    """

    path: Path
    images: int
    fingerprint: str

    def is_finished(self) -> bool:
        """Whether an earlier job has computed this exact table, and it has not changed since."""
        if not self.path.is_file():
            return False
        if self.path.suffix == ".csv":
            return self._seal().is_file() and self._seal().read_text() == checksum(self.path)
        try:
            metadata = pq.read_schema(self.path).metadata or {}
        except (pa.ArrowInvalid, OSError):
            return False
        return metadata.get(OUTPUT_KEY) == self.fingerprint.encode()

    def prepare(self, *, overwrite: bool) -> None:
        """Prepare to write the table.

        Raises UserError for an unsupported file type, an existing file that may not be overwritten, and a path that
        cannot be written to.
        """
        if self.path.suffix not in (".parquet", ".csv"):
            raise UserError(f"{self.path}: the name of a table must end in .parquet or .csv")
        if self.path.exists() and not overwrite and not self.has_parts():
            raise UserError(f"{self.path} exists: use --overwrite or another file")
        try:
            self._parts().mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot write to {self.path}: {error.strerror}") from error

    def has_parts(self) -> bool:
        """Whether an interrupted job left parts of this exact table."""
        return self._parts().is_dir()

    def unfinished(self, process: int, processes: int) -> list[range]:
        """The parts that a process has yet to compute, as ranges of image indices."""
        starts = range(0, self.images, _PART_ROWS)
        return [
            range(start, min(start + _PART_ROWS, self.images))
            for number, start in enumerate(starts)
            if number % processes == process and not self._part(start).exists()
        ]

    def write_part(self, start: int, rows: pa.Table) -> None:
        file = self._part(start)
        with writing(file):
            pq.write_table(rows, file.with_suffix(".partial"))
            file.with_suffix(".partial").replace(file)

    def finish(self) -> None:
        """Join the parts; the table appears complete or not at all."""
        files = [self._part(start) for start in range(0, self.images, _PART_ROWS)]
        schema = pq.read_schema(files[0]).with_metadata({OUTPUT_KEY: self.fingerprint.encode()})
        partial = self._parts() / "joined"
        writer = pq.ParquetWriter if self.path.suffix == ".parquet" else pyarrow.csv.CSVWriter
        with writing(self.path), writer(partial, schema) as table:
            for file in files:
                table.write_table(pq.read_table(file).replace_schema_metadata(schema.metadata))
        partial.replace(self.path)
        if self.path.suffix == ".csv":
            for seal in self.path.parent.glob(f".{escape(self.path.name)}.*"):
                seal.unlink()
            atomic_write(self._seal(), checksum(self.path))
        self.remove_parts()

    def remove_parts(self) -> None:
        """Remove the parts of this table and of other tables with the same file name."""
        for parts in self.path.parent.glob(f".{escape(self.path.name)}-*"):
            shutil.rmtree(parts)

    def _parts(self) -> Path:
        return self.path.with_name(f".{self.path.name}-{self.fingerprint}")

    def _seal(self) -> Path:
        """Marks a CSV file as finished, like the metadata of a Parquet file."""
        return self.path.with_name(f".{self.path.name}.{self.fingerprint}")

    def _part(self, start: int) -> Path:
        return self._parts() / f"{start:09}.parquet"
