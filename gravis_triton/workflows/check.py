"""Check a dataset before training on it."""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import track

from gravis_triton.data import Collection, Record, open_collection
from gravis_triton.data.cache.pixels import (
    check_aspect,
    check_fit,
    is_nearly_black,
    is_suspect,
    lesion_pixels,
    most_are_suspect,
    other_levels,
)
from gravis_triton.data.datasets.folder import SUPERPIXELS, unused_files
from gravis_triton.data.splits.leaks import alike_pairs, gray_thumbnail
from gravis_triton.data.splits.split import alike_classes
from gravis_triton.errors import UserError
from gravis_triton.settings.jobs import CheckSettings

_SIDE = 96  # of the thumbnails to compare and show
_EXAMPLES = 5
_FEW_PIXELS = 16  # on a side: placeholders of downloads


@dataclass(frozen=True, slots=True)
class CheckResult:
    """Contents of a dataset, and the problems found in it.

    notes: how the data were read, and what was left out.
    parts: per split (or "all") the numbers of images, masks, labels by class, and the range of sizes in pixels.
    faults: make training fail or inflate scores. warnings: may be intended.
    """

    data: str
    notes: tuple[str, ...]
    parts: dict[str, dict[str, object]]
    faults: tuple[str, ...]
    warnings: tuple[str, ...]


class _Inspected(NamedTuple):
    """One image: its size, a hash of its pixels and thumbnails, or the fault of the image or its mask.

    compared: thumbnail for finding near duplicates. shown: thumbnail for the page, or None without a page.
    """

    size: tuple[int, int] | None = None
    pixels: str = ""
    compared: np.ndarray | None = None
    shown: Image.Image | None = None
    fault: str = ""
    is_dark: bool = False
    mask_fault: str = ""
    empty_mask: bool = False
    suspect_mask: bool = False
    mask_levels: str = ""


def check(settings: CheckSettings) -> CheckResult:
    """Decode every image and mask of a dataset, and report its contents and problems.

    Prints the report or JSON, and writes a page of contact sheets if requested. Raises UserError for a dataset that
    cannot be opened.
    """
    collection = open_collection(settings.data, **settings.reading())
    with ThreadPoolExecutor(settings.num_workers) as pool:
        progress = track(
            pool.map(partial(_look, has_page=settings.page is not None), collection.records),
            "checking images",
            total=len(collection.records),
            console=Console(stderr=True),
            disable=Console().is_jupyter,  # needs a terminal
            transient=True,
        )
        looked = list(progress)
    directory = Path(settings.data).expanduser()
    unused = unused_files(collection, directory) if directory.is_dir() else []
    faults, warnings = _findings(collection, looked, unused)
    result = CheckResult(collection.name, collection.notes, _parts(collection, looked), tuple(faults), tuple(warnings))
    print(json.dumps(asdict(result), indent=2) if settings.json else _text(result))
    if settings.page is not None:
        from gravis_triton.report.html import write_dataset_page  # imports matplotlib

        shown = [(r, one.shown) for r, one in zip(collection.records, looked, strict=True) if one.shown]
        try:
            write_dataset_page(Path(settings.page), collection, shown, _text(result))
        except OSError as error:
            raise UserError(f"cannot write {settings.page}: {error.strerror}") from error
    return result


def _look(record: Record, *, has_page: bool) -> _Inspected:
    try:
        image = record.image.read()
        check_aspect(image)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        return _Inspected(fault=f"{record.id}: {error}")
    thumbnail = image.copy()
    thumbnail.thumbnail((_SIDE, _SIDE))
    inspected = _look_at_mask(record, image)
    pixels = hashlib.sha256(image.tobytes() + str(image.size).encode()).hexdigest()
    return inspected._replace(
        size=image.size,
        pixels=pixels,
        compared=gray_thumbnail(np.asarray(thumbnail)),
        shown=thumbnail if has_page else None,
        is_dark=is_nearly_black(np.asarray(thumbnail)),
    )


def _look_at_mask(record: Record, image: Image.Image) -> _Inspected:
    if record.mask is None:
        return _Inspected()
    try:
        mask = record.mask.read()
        check_fit(mask.size, image.size)
        lesion = lesion_pixels(mask)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        return _Inspected(mask_fault=f"{record.id}: {error}")
    return _Inspected(empty_mask=not lesion.any(), suspect_mask=is_suspect(lesion), mask_levels=other_levels(mask))


def _parts(collection: Collection, looked: Sequence[_Inspected]) -> dict[str, dict[str, object]]:
    members: dict[str, list[int]] = defaultdict(list)
    for index, record in enumerate(collection.records):
        members[record.split or "all"].append(index)
    parts: dict[str, dict[str, object]] = {}
    for part, indices in members.items():
        records = [collection.records[index] for index in indices]
        labels = Counter(collection.classes[label] for r in records for label in r.classes)
        sizes = sorted(size for index in indices if (size := looked[index].size))
        parts[part] = {
            "images": len(indices),
            "labels": {name: labels[name] for name in collection.classes},
            "unlabeled": sum(record.label is None for record in records),
            "masks": sum(record.mask is not None for record in records),
            "smallest": min(sizes, key=min, default=None),
            "largest": max(sizes, key=max, default=None),
        }
    return parts


def _findings(
    collection: Collection, looked: Sequence[_Inspected], unused: Sequence[str]
) -> tuple[list[str], list[str]]:
    """(faults, warnings), one line each."""
    records = collection.records
    exact, near = _duplicates(looked)

    def across(pairs: list[tuple[int, int]], *, apart: bool) -> list[str]:
        chosen = [(a, b) for a, b in pairs if (records[a].split != records[b].split) == apart]
        return [f"{records[a].id} and {records[b].id}{differing_labels(a, b)}" for a, b in chosen]

    def differing_labels(a: int, b: int) -> str:
        names = [collection.class_names(records[index]) for index in (a, b)]
        return f" ({names[0]} and {names[1]})" if None not in names and names[0] != names[1] else ""

    splits_of: dict[str, set[str | None]] = defaultdict(set)
    for record in records:
        if record.group is not None:
            splits_of[record.group].add(record.split)
    faults = {
        "unreadable images": [one.fault for one in looked if one.fault],
        "unusable masks": [one.mask_fault for one in looked if one.mask_fault],
        "pairs of identical images in two splits": across(exact, apart=True),
        "pairs of nearly identical images in two splits": across(near, apart=True),
        "lesions or patients in two splits": [group for group, splits in splits_of.items() if len(splits) > 1],
    }
    suspect = [r.id for r, one in zip(records, looked, strict=True) if one.suspect_mask]
    empty = [r.id for r, one in zip(records, looked, strict=True) if one.empty_mask]
    if most_are_suspect(len(suspect), sum(record.mask is not None for record in records)):
        faults["masks, most of all, are empty or cover nearly everything: are they inverted?"] = suspect
        suspect = []
    some_labels, some_masks = bool(collection.classes), any(record.mask for record in records)
    warnings = {
        "images without a label": [r.id for r in records if some_labels and r.label is None],
        "images without a mask": [r.id for r in records if some_masks and r.mask is None],
        "classes with a single image, which is in training or in test": [
            collection.classes[label]
            for label, count in Counter(label for r in records for label in r.classes).items()
            if count == 1
        ],
        "classes that differ only in case or signs": alike_classes(collection.classes),
        "unused superpixel files": [name for name in unused if _is_superpixels(name)],
        "other unused image files, such as masks without an image or formats that are not read": [
            name for name in unused if not _is_superpixels(name)
        ],
        "nearly black images, perhaps of another bit depth": [
            r.id for r, one in zip(records, looked, strict=True) if one.is_dark
        ],
        "images of a few pixels": [
            r.id for r, one in zip(records, looked, strict=True) if one.size and min(one.size) < _FEW_PIXELS
        ],
        "masks of two other values than 0 and 255, read as background and lesion": [
            f"{r.id} ({one.mask_levels})" for r, one in zip(records, looked, strict=True) if one.mask_levels
        ],
        "masks that cover nearly everything, or all corners: are they inverted?": [
            name for name in suspect if name not in empty
        ],
        "empty masks": empty,
        "pairs of identical images in one split": across(exact, apart=False),
        "pairs of nearly identical images in one split": across(near, apart=False),
    }
    return list(_lines(faults)), list(_lines(warnings))


def _is_superpixels(name: str) -> bool:
    return Path(name).stem.lower().endswith(SUPERPIXELS)


def _duplicates(looked: Sequence[_Inspected]) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """(pairs with identical pixels, other pairs that look the same)."""
    first: dict[str, int] = {}
    exact = [
        (first[one.pixels], index)
        for index, one in enumerate(looked)
        if one.pixels and first.setdefault(one.pixels, index) != index
    ]
    distinct = sorted(first.values())
    compared = [image for index in distinct if (image := looked[index].compared) is not None]
    return exact, [(distinct[a], distinct[b]) for a, b in alike_pairs(compared).tolist()]


def _lines(found: dict[str, list[str]]) -> Iterator[str]:
    for what, examples in found.items():
        if examples:
            more = ", ..." if len(examples) > _EXAMPLES else ""
            yield f"{what} ({len(examples):,}): {', '.join(examples[:_EXAMPLES])}{more}"


def _text(result: CheckResult) -> str:
    lines = [result.data, *result.notes]
    for part, facts in result.parts.items():
        labels = facts["labels"]
        assert isinstance(labels, dict)
        classes = ", ".join(f"{count:,} {name}" for name, count in labels.items())
        lines.append(
            f"{part}: {facts['images']:,} images ({classes or 'no labels'}), {facts['masks']:,} masks, "
            f"{_size(facts['smallest'])} to {_size(facts['largest'])} px"
        )
    lines += [f"fault: {line}" for line in result.faults] + [f"warning: {line}" for line in result.warnings]
    return "\n".join(lines if result.faults else [*lines, "no faults"])


def _size(size: object) -> str:
    return " x ".join(map(str, size)) if isinstance(size, tuple) else "?"
