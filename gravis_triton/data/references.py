"""The kinds of `ImageReference`: a file on disk, a cell of an Arrow file, a procedurally drawn picture."""

import hashlib
import io
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pyarrow as pa
from PIL import Image

from gravis_triton.data import synthetic
from gravis_triton.data.decode import decode_mask, decode_photograph

# Side of a synthetic picture where the reader asks for none.
SYNTHETIC_SIDE = 256


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A photograph in a file; read as RGB."""

    path: Path

    def read(self, short_side: int | None = None) -> Image.Image:
        return decode_photograph(self.path, short_side)

    def fingerprint(self) -> str:
        return file_fingerprint(self.path)


@dataclass(frozen=True, slots=True)
class MaskFile:
    """A lesion mask in a file; read as one channel, always at its native size.

    photograph: the file of the image that it was drawn on, as which it is turned upright.
    """

    path: Path
    photograph: Path | None = None

    def read(self, short_side: int | None = None) -> Image.Image:
        return decode_mask(self.path, self.photograph)

    def fingerprint(self) -> str:
        files = [self.path] if self.photograph is None else [self.path, self.photograph]
        return ":".join(map(file_fingerprint, files))


@dataclass(frozen=True, slots=True)
class ArrowImage:
    """A photograph in a Hugging Face image column: one cell, {bytes, path}, of an Arrow stream file."""

    file: Path
    column: str
    row: int

    def read(self, short_side: int | None = None) -> Image.Image:
        return decode_photograph(_arrow_cell(self.file, self.column, self.row), short_side)

    def fingerprint(self) -> str:
        return f"{file_fingerprint(self.file)}:{self.column}:{self.row}"


@dataclass(frozen=True, slots=True)
class ArrowMask:
    """A lesion mask in a Hugging Face image column, as `ArrowImage`; photograph: the column of its image."""

    file: Path
    column: str
    row: int
    photograph: str

    def read(self, short_side: int | None = None) -> Image.Image:
        photograph = _arrow_cell(self.file, self.photograph, self.row)
        return decode_mask(_arrow_cell(self.file, self.column, self.row), photograph)

    def fingerprint(self) -> str:
        return f"{file_fingerprint(self.file)}:{self.column}:{self.row}"


@dataclass(frozen=True, slots=True)
class SyntheticPhotograph:
    """The photograph that the generator draws for (seed, index), at any size."""

    seed: int
    index: int

    def read(self, short_side: int | None = None) -> Image.Image:
        return Image.fromarray(synthetic.render(self.seed, self.index, short_side or SYNTHETIC_SIDE).pixels)

    def fingerprint(self) -> str:
        return f"{_generator_version()}:{self.seed}:{self.index}"


@dataclass(frozen=True, slots=True)
class SyntheticMask:
    """The exact lesion mask of the same picture: 255 where lesion, at the photograph's size."""

    seed: int
    index: int

    def read(self, short_side: int | None = None) -> Image.Image:
        return Image.fromarray(synthetic.render_mask(self.seed, self.index, short_side or SYNTHETIC_SIDE))

    def fingerprint(self) -> str:
        return f"{_generator_version()}:{self.seed}:{self.index}:mask"


def file_fingerprint(path: Path) -> str:
    """Name, size and time of change of a file; "missing" in their place where it cannot be looked at."""
    try:
        status = path.stat()
    except OSError:
        return f"{path.name}:missing"
    return f"{path.name}:{status.st_size}:{status.st_mtime_ns}"


@lru_cache(maxsize=64)
def _arrow_column(file: Path, column: str) -> pa.ChunkedArray:
    with pa.ipc.open_stream(pa.memory_map(str(file))) as stream:
        return stream.read_all().column(column)


def _arrow_cell(file: Path, column: str, row: int) -> Path | io.BytesIO:
    cell = _arrow_column(file, column)[row].as_py()
    if cell is None:
        raise ValueError("no picture in this row")
    return io.BytesIO(cell["bytes"]) if cell["bytes"] is not None else Path(cell["path"])


@lru_cache(maxsize=1)
def _generator_version() -> str:
    """A digest of the generator's source: pictures may change whenever it does."""
    source = Path(synthetic.__file__)
    files = sorted(source.parent.glob("*.py")) if source.name == "__init__.py" else [source]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]
