"""Images in shards: Parquet files or WebDataset tar files, local or on the Hugging Face hub."""

import hashlib
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from tarfile import TarError, TarFile
from typing import Any

from PIL import Image, UnidentifiedImageError

from gravis_triton.data.cache.pixels import resized_pixels
from gravis_triton.data.cache.store import Pixels
from gravis_triton.data.datasets.decode import decode_image, upright_size
from gravis_triton.data.datasets.folder import SPLIT_FOLDERS
from gravis_triton.data.datasets.groups import joined_groups
from gravis_triton.data.datasets.hub import (
    GROUP_COLUMNS,
    ID_COLUMNS,
    image_columns,
    known_label,
    label_column,
    without_progress_bars,
)
from gravis_triton.data.datasets.records import Collection, Record
from gravis_triton.errors import UserError

_SAMPLE = re.compile(r"((?:.*/)?[^./]+)\.[^/]*$")
_TOGETHER = 16  # shards whose sizes are read at a time, rows that are read at a time
_MOST_LABELED = 5_000  # images held in memory; at 224 pixels they take about 1 GB


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """An `ImageReference` to a cell of an image column: the content of a file or its path, neither if it is empty."""

    content: bytes | None = None
    path: str | None = None

    def read(self, short_side: int | None = None) -> Image.Image:
        try:
            return decode_image(self._source(), short_side)
        except UnidentifiedImageError as error:  # its message names a BytesIO object
            raise ValueError("not an image of a known format") from error

    def size(self) -> tuple[int, int]:
        return upright_size(self._source())

    def fingerprint(self) -> str:
        return hashlib.sha256(self.content or (self.path or "").encode()).hexdigest()[:16]

    def _source(self) -> io.BytesIO | Path:
        if self.content is not None:
            return io.BytesIO(self.content)
        if self.path is None:
            raise ValueError("no image in this row")
        return Path(self.path)


@dataclass(frozen=True, slots=True)
class ImageShards:
    """The shards of some splits of a dataset.

    data: a `datasets.IterableDataset` whose images are not decoded. rows: of each shard, None if not known without
    reading all of it. images, ids, labels, groups: names of columns.
    """

    name: str
    data: Any
    rows: tuple[int | None, ...]
    images: str
    ids: str | None
    labels: str | None
    groups: tuple[str, ...]

    def blocks(self, data: Any, size: int) -> Iterator[list[dict[str, Any]]]:
        """The rows of `data` (or a part of it), `size` at a time. Raises UserError if a shard cannot be read."""
        done = 0
        try:
            for columns in data.iter(batch_size=size):
                cells = zip(*columns.values(), strict=True)
                rows = [dict(zip(columns, row, strict=True)) for row in cells]
                yield rows
                done += len(rows)
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
        chosen as in `open_hub`; in WebDataset tar files, `__key__` is the id.
    Raises UserError if there are no such shards or no images in them.
    """
    import datasets

    splits, files = _open(spec)
    features = next(iter(splits.values())).features or {}
    image, _ = image_columns(features)
    if image is None:
        raise UserError(f"{spec} has no image column; its columns are {', '.join(features) or 'unknown'}")
    ids = next((column for column in (*ID_COLUMNS, "__key__") if column in features), None)
    labels = label_column(features)
    groups = tuple(column for column in GROUP_COLUMNS if column in features)

    def part(chosen: Sequence[str], columns: Sequence[str | None]) -> ImageShards:
        parts = [splits[split].select_columns([c for c in columns if c]) for split in chosen]
        data = datasets.concatenate_datasets(parts) if len(parts) > 1 else parts[0]
        rows = (
            count
            for split in chosen
            for count in _rows_of_shards(files.get(split, []), splits[split].num_shards)
        )
        undecoded = data.cast_column(image, datasets.Image(decode=False))
        return ImageShards(spec, undecoded, tuple(rows), image, ids, labels, groups)

    kinds = {split: SPLIT_FOLDERS.get(split.lower()) for split in splits}
    training = [split for split, kind in kinds.items() if kind not in ("test", "validation")]
    validation = [split for split, kind in kinds.items() if kind == "validation"]
    if not training:
        raise UserError(f"{spec} has no split to train on; its splits are {', '.join(splits)}")
    return part(training, [image, ids]), part(
        validation, [image, ids, labels, *groups]
    ) if validation else None


def labeled_images(
    shards: ImageShards, *, short_side: int, progress: Callable[[int, int], None]
) -> tuple[Collection, list[Pixels]]:
    """The readable labeled images, and a collection of them in the same order.

    Both are empty if there are no labels, or more than 5,000 rows. short_side: of the images, in pixels.
    """
    nothing = Collection(shards.name, ()), list[Pixels]()
    if shards.labels is None or sum(filter(None, shards.rows)) > _MOST_LABELED:
        return nothing
    rows: list[dict[str, Any]] = []
    images: list[Pixels] = []
    done = 0
    for block in shards.blocks(shards.data, _TOGETHER):
        done += len(block)
        if done > _MOST_LABELED:
            return nothing
        for row in block:
            row[shards.labels] = known_label(row[shards.labels])
            with suppress(OSError, ValueError):  # unreadable images are left out
                if row[shards.labels] not in (None, -1):
                    images.append(resized_pixels(shards.image(row)[1].read(short_side), short_side))
                    rows.append(row)
        progress(done, sum(filter(None, shards.rows)) or _MOST_LABELED)
    labels = [row[shards.labels] for row in rows]
    names = getattr(shards.data.features[shards.labels], "names", None)
    values = list(range(len(names))) if names else sorted(set(labels))
    groups = joined_groups({column: [row[column] for row in rows] for column in shards.groups}) or [
        None
    ] * len(rows)
    records = tuple(
        Record(*shards.image(row), label=values.index(label), group=group)
        for row, label, group in zip(rows, labels, groups, strict=True)
    )
    classes = tuple(names or map(str, values))
    return Collection(shards.name, records, classes, classes), images


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


def _rows_of_shards(files: list[str], shards: int) -> list[int | None]:
    if len(files) != shards:  # the builder does not make one shard per file
        return [None] * shards
    with ThreadPoolExecutor(_TOGETHER) as pool:
        return list(pool.map(_rows_in, map(str, files)))


def _rows_in(file: str) -> int | None:
    """Rows of a Parquet file from its footer, samples of a local tar file from its headers; else None."""
    import fsspec  # type: ignore[import-untyped]
    import pyarrow.parquet

    try:
        if file.endswith(".parquet"):
            with fsspec.open(file, "rb") as stream:
                return int(pyarrow.parquet.read_metadata(stream).num_rows)
        if file.endswith(".tar") and Path(file).is_file():
            with TarFile.open(
                file, "r:"
            ) as tar:  # samples are runs of members with the same path up to the first dot
                named = (_SAMPLE.match(member.name) for member in tar if member.isfile())
                return sum(1 for _ in groupby(match[1] for match in named if match))
    except (OSError, TarError, ValueError) as error:
        raise UserError(f"{file} cannot be read ({error}): fix or remove it") from error
    return None
