"""Datasets of the Hugging Face hub, or on disk in a format that its `datasets` library reads."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from gravis_triton.data.datasets.columns import SPLITS, like_labels
from gravis_triton.data.datasets.frame import is_unknown
from gravis_triton.data.datasets.groups import read_groups
from gravis_triton.data.datasets.labels import describe_spellings, sorted_classes, spelled
from gravis_triton.data.datasets.records import Collection, Record
from gravis_triton.data.datasets.references import ArrowImage, ArrowMask
from gravis_triton.errors import UserError

ID_COLUMNS = ("image_id", "isic_id", "id", "__key__")  # the last is that of WebDataset tar files
_IMAGE_COLUMNS = ("image", "img")
_MASK_COLUMNS = ("mask", "segmentation")
_LABEL_COLUMNS = ("label", "labels", "dx", "diagnosis", "cls")
GROUP_COLUMNS = ("patient_id", "lesion_id")


def open_hub(name: str) -> Collection:
    """All splits of the dataset `name`: OWNER/NAME, OWNER/NAME@revision, or a directory.

    The first image column (preferably named image or img) holds the images, an image column mask or
    segmentation the masks, a ClassLabel column or one named label, dx or diagnosis the labels, lesion_id
    and patient_id the groups. Raises UserError if it cannot be loaded or has no image column.
    """
    return collect_splits(name, _load(name))


def collect_splits(name: str, splits: Mapping[str, Any]) -> Collection:
    """The images of `datasets.Dataset`s by split, which are in Arrow files; columns and errors as in `open_hub`."""
    features = next(iter(splits.values())).features
    image, mask = image_columns(features)
    if image is None:
        raise UserError(f"hf:{name} has no image column; its columns are {', '.join(features)}")
    label = label_column(features)
    rows = [(split, *row) for split, data in splits.items() for row in _rows(data, name)]
    classes, labels, told = _labels(splits, label) if label else ((), [None] * len(rows), [])
    columns = [column for column in GROUP_COLUMNS if column in features]
    groups, notes = read_groups({column: _cells(splits, column) for column in columns}, len(rows))
    used = {"image": image, "label": label, "mask": mask}
    if others := [name for name in like_labels(list(features)) if name not in used.values()]:
        told.append(f"not read as labels: {', '.join(others)}")
    notes = [f"columns: {', '.join(f'{kind} = {name}' for kind, name in used.items() if name)}", *told, *notes]
    records = tuple(
        Record(
            id=id,
            image=ArrowImage(file, image, row),
            label=label,
            group=group,
            split=SPLITS.get(split.lower()),
            mask=None if mask is None else ArrowMask(file, mask, row, image),
        )
        for id, (split, file, row), label, group in zip(_ids(splits, features), rows, labels, groups, strict=True)
    )
    return Collection(name, records, classes, classes, tuple(notes))


def _load(name: str) -> Mapping[str, Any]:
    """Split name -> datasets.Dataset."""
    import datasets

    local = Path(name).expanduser()
    path, _, revision = (str(local), "", "") if local.is_dir() else name.partition("@")
    if not local.is_dir() and path.count("/") != 1:
        raise UserError(f"hf:{name}: expected hf:OWNER/NAME, hf:OWNER/NAME@revision, or hf: and an existing directory")
    try:
        if (local / "dataset_dict.json").is_file() or (local / "state.json").is_file():
            saved = datasets.load_from_disk(path)
            return saved if isinstance(saved, datasets.DatasetDict) else {"all": saved}
        with without_progress_bars():
            splits: Mapping[str, Any] = datasets.load_dataset(path, revision=revision or None)
    except Exception as error:  # the library raises dozens of types, from ConnectionError to pyarrow's own
        cause = error.__cause__ or error
        reason = next(iter(str(cause).splitlines()), "") or type(cause).__name__
        hint = "" if local.is_dir() else " (the hub must be reachable; a directory may be given after hf: instead)"
        raise UserError(f"hf:{name} cannot be loaded: {reason}{hint}") from error
    return splits


@contextmanager
def without_progress_bars() -> Iterator[None]:
    """Disable the progress bars of the Hugging Face libraries."""
    import datasets.utils
    import huggingface_hub.utils

    libraries = [datasets.utils, huggingface_hub.utils]
    shown = [library for library in libraries if not library.are_progress_bars_disabled()]
    for library in shown:
        library.disable_progress_bars()
    try:
        yield
    finally:
        for library in shown:
            library.enable_progress_bars()


def image_columns(features: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """The columns that hold the images and the masks, each None if absent."""
    import datasets

    images = [column for column, kind in features.items() if isinstance(kind, datasets.Image) or _is_bytes(kind)]
    masks = [column for column in images if column.split(".")[0] in _MASK_COLUMNS]
    images = [column for column in images if column not in masks]
    named = [column for column in images if column in _IMAGE_COLUMNS]
    return next(iter([*named, *images]), None), next(iter(masks), None)


def _is_bytes(kind: Any) -> bool:
    """Whether a column holds encoded images that it does not declare as images."""
    return (isinstance(kind, dict) and "bytes" in kind) or getattr(kind, "dtype", None) in ("binary", "large_binary")


def label_column(features: Mapping[str, Any]) -> str | None:
    """The column that holds the classes, or None."""
    import datasets

    class_labels = [column for column, kind in features.items() if isinstance(kind, datasets.ClassLabel)]
    plain = [
        column
        for column in _LABEL_COLUMNS
        if isinstance(features.get(column), datasets.Value)
        and any(kind in features[column].dtype for kind in ("string", "int", "float"))
    ]
    named = [column for column in class_labels if column in _LABEL_COLUMNS]
    return next(iter([*named, *class_labels, *plain]), None)


def _labels(splits: Mapping[str, Any], column: str) -> tuple[tuple[str, ...], list[int | None], list[str]]:
    """(classes, label of each row, lines for the user)."""
    notes: list[str] = []
    kinds = [data.features[column] for data in splits.values()]
    cells = [cell or "" for cell in _cells(splits, column)]
    if hasattr(kinds[0], "names"):
        classes = tuple(dict.fromkeys(name for kind in kinds for name in kind.names))
    else:
        known = ["" if is_unknown(cell) else cell for cell in cells]
        cells, notes = spelled(known), describe_spellings(known)
        classes = sorted_classes(cells)
        if "float" in kinds[0].dtype and (fraction := next((name for name in classes if "." in name), None)):
            raise UserError(f"the column {column} has fractions such as {fraction}, not classes: rename the column")
    index = {name: position for position, name in enumerate(classes)}
    labels = [index.get(cell) for cell in cells]
    return () if set(labels) == {None} else classes, labels, notes


def _ids(splits: Mapping[str, Any], features: Mapping[str, Any]) -> list[str]:
    """The dataset's own image ids if they are unique, else split and row."""
    for column in ID_COLUMNS:
        ids = list(map(str, _cells(splits, column))) if column in features else []
        if ids and len(set(ids)) == len(ids):
            return ids
    return [f"{split}/{row:06d}" for split, data in splits.items() for row in range(len(data))]


def _rows(data: Any, name: str) -> list[tuple[Path, int]]:
    """(file, row in it) of every row; a dataset just loaded is in Arrow files, in order."""
    cells = []
    for entry in data.cache_files:
        file = Path(os.path.abspath(entry["filename"]))
        with pa.memory_map(str(file)) as source, pa.ipc.open_stream(source) as stream:
            rows = stream.read_all().num_rows
        cells += [(file, row) for row in range(rows)]
    if len(cells) != len(data):
        raise UserError(f"hf:{name} was not written to Arrow files; unset HF_DATASETS_IN_MEMORY_MAX_SIZE")
    return cells


def hub_table(name: str) -> pa.Table:
    """The columns of plain values as text, after one without a name that holds the ids of the images."""
    import datasets

    splits = _load(name)
    features = next(iter(splits.values())).features
    kinds = (datasets.Value, datasets.ClassLabel)
    plain = [column for column, kind in features.items() if isinstance(kind, kinds) and not _is_bytes(kind)]
    columns = {"": _ids(splits, features)} | {column: _cells(splits, column) for column in plain}
    return pa.table({column: pa.array(cells, pa.string()) for column, cells in columns.items()})


def _cells(splits: Mapping[str, Any], column: str) -> list[str | None]:
    """The cells of all splits as text, with the names of classes."""
    texts: list[str | None] = []
    for data in splits.values():
        kind, cells = data.features[column], data[column][:]
        if hasattr(kind, "names"):  # each split may number the classes in its own way
            cells = [kind.names[cell] if cell is not None and cell >= 0 else None for cell in cells]
        texts += [None if cell is None else str(cell) for cell in cells]
    return texts
