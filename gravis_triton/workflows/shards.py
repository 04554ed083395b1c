"""Write a dataset as Parquet shards, to be streamed or shared."""

import random
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from gravis_triton.data import Collection, Record, open_collection
from gravis_triton.data.cache.pixels import check_aspect, check_fit
from gravis_triton.data.datasets.hub import without_progress_bars
from gravis_triton.errors import UserError
from gravis_triton.files import atomic_directory, to_bytes
from gravis_triton.settings.jobs import ShardsSettings


@dataclass(frozen=True, slots=True)
class ShardsResult:
    """directory: of the shards. images: number of images written. skipped: ids of the unreadable ones."""

    directory: Path
    images: int
    skipped: tuple[str, ...]


def shards(settings: ShardsSettings) -> ShardsResult:
    """Write resized images with labels, groups and masks, in random order, to SPLIT-00000-of-00003.parquet etc.

    Read them with `--streaming --data OUT` or `--data hf:OUT`. Images without a split go to train. Raises UserError
    if the directory exists or the dataset cannot be opened.
    """
    output = Path(settings.output)
    if output.exists():
        raise UserError(f"{output} exists: use another directory, or delete it")
    collection = open_collection(settings.data, **settings.reading())
    if collection.multilabel:
        raise UserError("shards hold one class per image: leave out labels= in --columns, or give label=")
    splits: dict[str, list[Record]] = defaultdict(list)
    for record in random.Random(0).sample(collection.records, len(collection.records)):
        splits[record.split or "train"].append(record)
    skipped: list[str] = []
    with atomic_directory(output) as directory:
        for split, records in splits.items():
            skipped += _write_split(directory, split, records, collection, settings)
    written = len(collection.records) - len(skipped)
    print(f"{written:,} of {len(collection.records):,} images written: {output}")
    if skipped:
        print(f"skipped, unreadable: {', '.join(skipped)}")
    return ShardsResult(output, written, tuple(skipped))


def _write_split(
    directory: Path, split: str, records: Sequence[Record], collection: Collection, settings: ShardsSettings
) -> list[str]:
    """Write the shards of a split; returns the ids of unreadable images."""
    import datasets

    features = _features(collection)
    starts = range(0, len(records), settings.images_per_shard)
    skipped = []
    with ThreadPoolExecutor() as pool:
        for number, start in enumerate(starts):
            chosen = records[start : start + settings.images_per_shard]
            rows = list(pool.map(lambda record: _row(record, settings.image_size), chosen))
            skipped += [record.id for record, row in zip(chosen, rows, strict=True) if row is None]
            kept = {name: [row[name] for row in rows if row is not None] for name in features}
            data = datasets.Dataset.from_dict(kept, features=features)
            with without_progress_bars():
                data.to_parquet(directory / f"{split}-{number:05d}-of-{len(starts):05d}.parquet")
    return skipped


def _features(collection: Collection) -> Any:
    """Columns of the shards: only those that have data."""
    import datasets

    features = {"image_id": datasets.Value("string"), "image": datasets.Image()}
    if collection.classes:
        features["label"] = datasets.ClassLabel(names=list(collection.classes))
    if any(record.group is not None for record in collection.records):
        features["lesion_id"] = datasets.Value("string")
    if any(record.mask is not None for record in collection.records):
        features["mask"] = datasets.Image()
    return datasets.Features(features)


def _row(record: Record, short_side: int) -> dict[str, Any] | None:
    try:
        image = record.image.read(short_side)
        check_aspect(image)
        scale = min(1.0, short_side / min(image.size))
        width, height = (max(1, round(side * scale)) for side in image.size)
        mask = None if record.mask is None else record.mask.read()
        if mask is not None:
            check_fit(mask.size, record.image.size())
            mask = mask.resize((width, height), Image.Resampling.NEAREST)
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
    return {
        "image_id": record.id,
        "image": {"bytes": _encoded(image.resize((width, height), Image.Resampling.LANCZOS), "JPEG"), "path": None},
        "label": record.label,
        "lesion_id": record.group,
        "mask": None if mask is None else {"bytes": _encoded(mask, "PNG"), "path": None},
    }


def _encoded(image: Image.Image, kind: str) -> bytes:
    return to_bytes(lambda opened: image.save(opened, kind, quality=95))
