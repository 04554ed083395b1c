"""Opening a dataset for streaming: its shards, and how many rows each has."""

import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from tarfile import TarError, TarFile
from typing import Any

from gravis_triton.data.datasets.folder import SPLIT_FOLDERS
from gravis_triton.data.datasets.hub import (
    GROUP_COLUMNS,
    ID_COLUMNS,
    image_columns,
    label_column,
    without_progress_bars,
)
from gravis_triton.data.loading.streaming.image_shards import ImageShards
from gravis_triton.errors import UserError

_SAMPLE = re.compile(r"((?:.*/)?[^./]+)\.[^/]*$")
_TOGETHER = 16  # shards whose sizes are read at a time


def open_shards(spec: str) -> tuple[ImageShards, ImageShards | None]:
    """(shards to pre-train on, shards of the validation split if there is one); the test split is not read.

    spec: "hf:OWNER/NAME[@revision]", "hf:DIRECTORY" or a directory, of Parquet or WebDataset tar files. Columns are
        chosen as in `open_hub`; in WebDataset tar files, `__key__` is the id.
    Raises UserError if there are no such shards or no images in them.
    """
    import datasets

    name = spec.removeprefix("hf:")
    splits, files = _open(spec, name)
    kinds = {split: SPLIT_FOLDERS.get(split.lower()) for split in splits}
    features = next(iter(splits.values())).features or {}
    image, _ = image_columns(features)
    if image is None:
        raise UserError(f"{spec} has no image column; its columns are {', '.join(features) or 'unknown'}")
    label = label_column(features)

    def part(expected: Callable[[str | None], bool]) -> ImageShards | None:
        chosen = [split for split in splits if expected(kinds[split])]
        rows = [
            count
            for split in chosen
            for count in _rows_of_shards(files.get(split, []), splits[split].num_shards)
        ]
        undecoded = tuple(
            (split, splits[split].cast_column(image, datasets.Image(decode=False))) for split in chosen
        )
        if not chosen:
            return None
        return ImageShards(
            spec,
            undecoded,
            tuple(rows),
            image,
            label_column=label,
            id_column=_first_of((*ID_COLUMNS, "__key__"), features),
            group_columns=tuple(column for column in GROUP_COLUMNS if column in features),
            class_names=tuple(getattr(features.get(label), "names", None) or ()),
        )

    training = part(lambda kind: kind not in ("test", "validation"))
    if training is None:
        raise UserError(f"{spec} has no split to train on; its splits are {', '.join(splits)}")
    return training, part(lambda kind: kind == "validation")


def _first_of(columns: tuple[str, ...], features: Mapping[str, Any]) -> str | None:
    return next((column for column in columns if column in features), None)


def _open(spec: str, name: str) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """Split -> datasets.IterableDataset, and split -> its files."""
    import datasets

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
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        hint = "" if local.is_dir() else " (the hub must be reachable, or give a directory)"
        raise UserError(f"{spec} cannot be streamed: {reason}{hint}") from error


def _rows_of_shards(files: list[str], shards: int) -> list[int | None]:
    if len(files) != shards:  # the builder does not make one shard per file
        return [None] * shards
    with ThreadPoolExecutor(_TOGETHER) as pool:
        return list(pool.map(_rows_in, map(str, files)))


def _rows_in(file: str) -> int | None:
    """Rows of a Parquet file from its footer, samples of a local tar file from its headers; else None."""
    try:
        if file.endswith(".parquet"):
            return _rows_in_parquet(file)
        if file.endswith(".tar") and Path(file).is_file():
            return _samples_in_tar(file)
    except (OSError, TarError, ValueError) as error:
        raise UserError(f"{file} cannot be read ({error}): fix or remove it") from error
    return None


def _rows_in_parquet(file: str) -> int:
    import fsspec  # type: ignore[import-untyped]
    import pyarrow.parquet

    with fsspec.open(file, "rb") as stream:
        return int(pyarrow.parquet.read_metadata(stream).num_rows)


def _samples_in_tar(file: str) -> int:
    """Count runs of members with the same path up to the first dot of the file name; others are ignored."""
    with TarFile.open(file, "r:") as tar:
        named = (_SAMPLE.match(member.name) for member in tar if member.isfile())
        return sum(1 for _ in groupby(match[1] for match in named if match))
