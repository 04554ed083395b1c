"""The kinds of `ImageReference`: a file on disk, a cell of an Arrow file, a procedurally drawn image."""

import hashlib
import io
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
from PIL import Image

from gravis_triton.data.datasets.decode import decode_image, decode_mask, upright_size
from gravis_triton.data.synthetic import image as synthetic
from gravis_triton.errors import UserError

# Default side of a synthetic image.
SYNTHETIC_SIDE = 256


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image in a file; read as RGB."""

    file: str | Path

    @property
    def path(self) -> Path:
        return Path(self.file)

    def read(self, short_side: int | None = None) -> Image.Image:
        return decode_image(self.path, short_side)

    def size(self) -> tuple[int, int]:
        return upright_size(self.path)

    def fingerprint(self) -> str:
        return file_fingerprint(self.path)


@dataclass(frozen=True, slots=True)
class MaskFile:
    """A lesion mask in a file; read as one channel, always at its native size.

    image: the file of the image that it was drawn on, for its orientation.
    """

    file: str | Path
    image: str | Path | None = None

    @property
    def path(self) -> Path:
        return Path(self.file)

    def read(self, short_side: int | None = None) -> Image.Image:
        return decode_mask(self.path, None if self.image is None else Path(self.image))

    def size(self) -> tuple[int, int]:
        return self.read().size

    def fingerprint(self) -> str:
        files = [self.path] if self.image is None else [self.path, Path(self.image)]
        return ":".join(map(file_fingerprint, files))


@dataclass(frozen=True, slots=True)
class HDF5Image:
    """An encoded image in an HDF5 file that has one dataset of bytes per image, such as those of ISIC 2024."""

    file: str
    key: str

    def read(self, short_side: int | None = None) -> Image.Image:
        return decode_image(self._encoded(), short_side)

    def size(self) -> tuple[int, int]:
        return upright_size(self._encoded())

    def fingerprint(self) -> str:
        return f"{file_fingerprint(Path(self.file))}:{self.key}"

    def _encoded(self) -> io.BytesIO:
        try:
            value = _open_hdf5(self.file, os.getpid())[self.key][()]
        except KeyError as error:
            raise ValueError(f"no image {self.key} in {self.file}") from error
        return io.BytesIO(value.tobytes() if hasattr(value, "tobytes") else value)


@dataclass(frozen=True, slots=True)
class ArrowImage:
    """An image in a Hugging Face image column: one cell, {bytes, path}, of an Arrow stream file."""

    file: Path
    column: str
    row: int

    def read(self, short_side: int | None = None) -> Image.Image:
        return decode_image(_arrow_cell(self.file, self.column, self.row), short_side)

    def size(self) -> tuple[int, int]:
        return upright_size(_arrow_cell(self.file, self.column, self.row))

    def fingerprint(self) -> str:
        return f"{file_fingerprint(self.file)}:{self.column}:{self.row}"


@dataclass(frozen=True, slots=True)
class ArrowMask:
    """A lesion mask in a Hugging Face image column, like `ArrowImage`; image: the column of its image."""

    file: Path
    column: str
    row: int
    image: str

    def read(self, short_side: int | None = None) -> Image.Image:
        image = _arrow_cell(self.file, self.image, self.row)
        return decode_mask(_arrow_cell(self.file, self.column, self.row), image)

    def size(self) -> tuple[int, int]:
        return self.read().size

    def fingerprint(self) -> str:
        return f"{file_fingerprint(self.file)}:{self.column}:{self.row}"


@dataclass(frozen=True, slots=True)
class SyntheticImage:
    """The image that the generator draws for (seed, index), at any size."""

    seed: int
    index: int

    def read(self, short_side: int | None = None) -> Image.Image:
        return Image.fromarray(synthetic.render(self.seed, self.index, short_side or SYNTHETIC_SIDE).pixels)

    def size(self) -> tuple[int, int]:
        return SYNTHETIC_SIDE, SYNTHETIC_SIDE

    def fingerprint(self) -> str:
        return f"{_generator_version()}:{self.seed}:{self.index}"


@dataclass(frozen=True, slots=True)
class SyntheticMask:
    """The exact lesion mask of the same image: 255 where lesion, at the image's size."""

    seed: int
    index: int

    def read(self, short_side: int | None = None) -> Image.Image:
        return Image.fromarray(synthetic.render_mask(self.seed, self.index, short_side or SYNTHETIC_SIDE))

    def size(self) -> tuple[int, int]:
        return SYNTHETIC_SIDE, SYNTHETIC_SIDE

    def fingerprint(self) -> str:
        return f"{_generator_version()}:{self.seed}:{self.index}:mask"


def file_fingerprint(path: Path) -> str:
    """Name, size and modification time of a file; "missing" if it cannot be read."""
    try:
        status = path.stat()
    except OSError:
        return f"{path.name}:missing"
    return f"{path.name}:{status.st_size}:{status.st_mtime_ns}"


def hdf5_keys(file: Path) -> list[str]:
    """Names of the images in an HDF5 file, sorted. Raises UserError without h5py, and for another kind of file."""
    return sorted(_open_hdf5(str(file), os.getpid()))


@lru_cache(maxsize=4)
def _open_hdf5(file: str, process: int) -> Any:
    """The file, opened once per process."""
    try:
        import h5py  # type: ignore[import-untyped,unused-ignore]
    except ImportError as error:
        raise UserError(f"{file} needs h5py: pip install 'gravis-triton[hdf5]'") from error
    try:
        return h5py.File(file, "r")
    except OSError as error:
        raise UserError(f"{file}: cannot be read as an HDF5 file: {error}") from error


@lru_cache(maxsize=64)
def _arrow_column(file: Path, column: str) -> pa.ChunkedArray:
    with pa.ipc.open_stream(pa.memory_map(str(file))) as stream:
        return stream.read_all().column(column)


def _arrow_cell(file: Path, column: str, row: int) -> Path | io.BytesIO:
    cell = _arrow_column(file, column)[row].as_py()
    if cell is None:
        raise ValueError("no image in this row")
    if isinstance(cell, bytes):  # a column of encoded images that is not declared as images
        return io.BytesIO(cell)
    return io.BytesIO(cell["bytes"]) if cell["bytes"] is not None else Path(cell["path"])


@lru_cache(maxsize=1)
def _generator_version() -> str:
    """A hash of the generator's source: images may change whenever it does."""
    files = sorted(Path(synthetic.__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]
