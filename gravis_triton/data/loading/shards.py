"""Images in shards: Parquet files or WebDataset tar files, local or on the Hugging Face hub."""

import dataclasses
import hashlib
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from tarfile import TarError, TarFile
from typing import Any

from PIL import Image, UnidentifiedImageError

from gravis_triton.data.datasets.columns import SPLITS
from gravis_triton.data.datasets.hub import (
    ID_COLUMNS,
    collect_splits,
    image_columns,
    label_column,
    without_progress_bars,
)
from gravis_triton.data.datasets.records import Collection, fingerprint_of
from gravis_triton.data.datasets.references import Encoded, file_fingerprint
from gravis_triton.errors import UserError

_SAMPLE = re.compile(r"((?:.*/)?[^./]+)\.[^/]*$")
_TOGETHER = 16  # shards whose sizes are read at a time, rows that are read at a time
_MOST_LABELED = 5_000  # images of a validation split that scores are computed on


@dataclass(frozen=True, slots=True)
class EncodedImage(Encoded):
    """An `ImageReference` to a cell of an image column: the content of a file or its path, neither if it is empty."""

    content: bytes | None = None
    path: str | None = None

    def read(self, short_side: int | None = None) -> Image.Image:
        try:
            return Encoded.read(self, short_side)
        except UnidentifiedImageError as error:  # its message names a BytesIO object
            raise ValueError("not an image of a known format") from error

    def fingerprint(self) -> str:
        return hashlib.sha256(self.content or (self.path or "").encode()).hexdigest()[:16]

    def source(self) -> io.BytesIO | Path:
        if self.content is not None:
            return io.BytesIO(self.content)
        if self.path is None:
            raise ValueError("no image in this row")
        return Path(self.path)


@dataclass(frozen=True, slots=True)
class ImageShards:
    """The shards of some splits of a dataset.

    data: a `datasets.IterableDataset` whose images are not decoded. rows: of each shard, None if not known without
    reading all of it. images, ids: names of columns. files: of the shards.
    """

    name: str
    files: tuple[str, ...]
    data: Any
    rows: tuple[int | None, ...]
    images: str
    ids: str | None

    def blocks(self, data: Any, size: int) -> Iterator[list[dict[str, Any]]]:
        """The rows of `data` (or a part of it), `size` at a time. Raises UserError if a shard cannot be read."""
        done = 0
        try:
            for columns in data.iter(batch_size=size):
                yield [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]
                done += size
        except Exception as error:  # of pyarrow, tarfile, fsspec, the hub's client ...
            raise UserError(
                f"{self.name}: a shard cannot be read ({_reason(error)}) after {done} images: fix or remove it"
            ) from error

    def image(self, row: Mapping[str, Any]) -> tuple[str, EncodedImage]:
        """The id and the image of a row; without a column of ids, the id is a hash of the image."""
        cell = row[self.images] or {}
        image = EncodedImage(cell.get("bytes"), cell.get("path"))
        name = row[self.ids] if self.ids else None
        return image.fingerprint() if name is None else str(name), image


def open_shards(spec: str) -> tuple[ImageShards, ImageShards | None]:
    """(shards to pre-train on, shards of the validation split if there is one); the test split is not read.

    spec: "hf:OWNER/NAME[@revision]", "hf:DIRECTORY" or a directory, of Parquet or WebDataset tar files. Columns are
        chosen as in `open_hub`.
    Raises UserError if there are no such shards or no images in them.
    """
    import datasets

    splits, files = _open(spec)
    features = next(iter(splits.values())).features or {}
    image, _ = image_columns(features)
    if image is None:
        raise UserError(f"{spec} has no image column; its columns are {', '.join(features) or 'unknown'}")
    ids = next((column for column in ID_COLUMNS if column in features), None)

    def part(chosen: Sequence[str], columns: list[str]) -> ImageShards:
        parts = [splits[split].select_columns(columns) for split in chosen]
        data = datasets.concatenate_datasets(parts) if len(parts) > 1 else parts[0]
        undecoded = data.cast_column(image, datasets.Image(decode=False))
        names = tuple(str(file) for split in chosen for file in files.get(split, ()))
        return ImageShards(spec, names, undecoded, _rows_of_shards(names, data.num_shards), image, ids)

    kinds = {split: SPLITS.get(split.lower()) for split in splits}
    training = [split for split, kind in kinds.items() if kind not in ("test", "validation")]
    validation = [split for split, kind in kinds.items() if kind == "validation"]
    if not training:
        raise UserError(f"{spec} has no split to train on; its splits are {', '.join(splits)}")
    labeled = part(validation, list(features)) if validation else None
    return part(training, [image, ids] if ids else [image]), labeled


def labeled_images(shards: ImageShards) -> Collection:
    """The labeled images of a validation split in a copy on disk, as `open_hub` gives them, to be split anew; none if
    there are more than 5,000."""
    import datasets

    if label_column(shards.data.features) is None or sum(filter(None, shards.rows)) > _MOST_LABELED:
        return Collection(shards.name, ())
    with without_progress_bars():
        data = datasets.Dataset.from_generator(
            _rows,
            gen_kwargs={"shards": shards},
            features=shards.data.features,
            fingerprint=fingerprint_of(file + file_fingerprint(Path(file)) for file in shards.files),
        )
    if len(data) > _MOST_LABELED:
        return Collection(shards.name, ())
    collection = collect_splits(shards.name, {"validation": data})
    labeled = (r for r in collection.records if r.label is not None)
    records = tuple(dataclasses.replace(record, split=None) for record in labeled)
    return dataclasses.replace(collection, records=records)


def _rows(shards: ImageShards) -> Iterator[dict[str, Any]]:
    for rows in shards.blocks(shards.data.take(_MOST_LABELED + 1), _TOGETHER):
        yield from rows


def _open(spec: str) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """Split -> datasets.IterableDataset, and split -> its files."""
    import datasets

    name = spec.removeprefix("hf:")
    local = Path(name).expanduser()
    if spec == "synthetic" or not (local.is_dir() or spec.startswith("hf:")):
        raise UserError(
            f"--streaming cannot read {spec}: give hf:OWNER/NAME or a directory of Parquet or WebDataset tar files"
        )
    if local.is_dir() and not any(any(local.rglob(pattern)) for pattern in ("*.parquet", "*.tar")):
        raise UserError(f"{spec} holds no Parquet or tar files: leave out --streaming")
    path, _, revision = (str(local), "", "") if local.is_dir() else name.partition("@")
    try:
        with without_progress_bars():
            builder = datasets.load_dataset_builder(path, revision=revision or None)
        return dict(builder.as_streaming_dataset()), dict(builder.config.data_files or {})
    except Exception as error:  # the library raises dozens of types
        hint = "" if local.is_dir() else " (the hub must be reachable, or give a directory)"
        raise UserError(f"{spec} cannot be streamed: {_reason(error)}{hint}") from error


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _rows_of_shards(files: Sequence[str], shards: int) -> tuple[int | None, ...]:
    if len(files) != shards:  # the builder does not make one shard per file
        return (None,) * shards
    with ThreadPoolExecutor(_TOGETHER) as pool:
        return tuple(pool.map(_rows_in, files))


def _rows_in(file: str) -> int | None:
    """Rows of a Parquet file from its footer, samples of a local tar file from its headers; else None."""
    import fsspec  # type: ignore[import-untyped]
    import pyarrow.parquet

    try:
        if file.endswith(".parquet"):
            with fsspec.open(file, "rb") as stream:
                return int(pyarrow.parquet.read_metadata(stream).num_rows)
        if file.endswith(".tar") and Path(file).is_file():
            with TarFile.open(file, "r:") as tar:  # samples are runs of members with the same path up to the first dot
                named = (_SAMPLE.match(member.name) for member in tar if member.isfile())
                return sum(1 for _ in groupby(match[1] for match in named if match))
    except (OSError, TarError, ValueError) as error:
        raise UserError(f"{file} cannot be read ({error}): fix or remove it") from error
    return None
