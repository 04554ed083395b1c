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


class Encoded:
    """An encoded image, read as RGB. A subclass has its `source` and fingerprint."""

    __slots__ = ()

    def source(self) -> Path | io.BytesIO:
        raise NotImplementedError

    def read(self, short_side: int | None = None) -> Image.Image:
        return decode_image(self.source(), short_side)

    def size(self) -> tuple[int, int]:
        return upright_size(self.source())


@dataclass(frozen=True, slots=True)
class ImageFile(Encoded):
    """An image in a file."""

    file: str | Path

    @property
    def path(self) -> Path:
        return Path(self.file)

    def source(self) -> Path:
        return self.path

    def fingerprint(self) -> str:
        return file_fingerprint(self.file)


@dataclass(frozen=True, slots=True)
class HDF5Image(Encoded):
    """An encoded image in an HDF5 file that has one dataset of bytes per image, such as those of ISIC 2024."""

    file: str
    key: str

    def source(self) -> io.BytesIO:
        try:
            value = _open_hdf5(self.file, os.getpid())[self.key][()]
        except KeyError as error:
            raise ValueError(f"no image {self.key} in {self.file}") from error
        return io.BytesIO(value.tobytes() if hasattr(value, "tobytes") else value)

    def fingerprint(self) -> str:
        return f"{file_fingerprint(self.file)}:{self.key}"


@dataclass(frozen=True, slots=True)
class ArrowImage(Encoded):
    """An image in a Hugging Face image column: one cell, {bytes, path}, of an Arrow stream file."""

    file: Path
    column: str
    row: int

    def source(self) -> Path | io.BytesIO:
        return _arrow_cell(self.file, self.column, self.row)

    def fingerprint(self) -> str:
        return f"{file_fingerprint(self.file)}:{self.column}:{self.row}"


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
        return ":".join(file_fingerprint(file) for file in (self.file, self.image) if file is not None)


@dataclass(frozen=True, slots=True)
class ArrowMask(ArrowImage):
    """A lesion mask in a Hugging Face image column, like `MaskFile`; image: the column of its image."""

    image: str

    def read(self, short_side: int | None = None) -> Image.Image:
        return decode_mask(self.source(), _arrow_cell(self.file, self.image, self.row))

    def size(self) -> tuple[int, int]:
        return self.read().size


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
class SyntheticMask(SyntheticImage):
    """The exact lesion mask of the same image: 255 where lesion, at the image's size."""

    def read(self, short_side: int | None = None) -> Image.Image:
        return Image.fromarray(synthetic.render_mask(self.seed, self.index, short_side or SYNTHETIC_SIDE))

    def fingerprint(self) -> str:
        return f"{_generator_version()}:{self.seed}:{self.index}:mask"


def file_fingerprint(path: str | Path) -> str:
    """Name, size and modification time of a file; "missing" if it cannot be read."""
    name = os.path.basename(path)
    try:
        status = os.stat(path)
    except OSError:
        return f"{name}:missing"
    return f"{name}:{status.st_size}:{status.st_mtime_ns}"


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
