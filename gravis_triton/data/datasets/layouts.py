"""The data sets that are known by name, from layouts.yaml."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter

from gravis_triton.data.datasets.records import Annotation
from gravis_triton.errors import UserError


@dataclass(frozen=True, slots=True)
class TableFile:
    """Columns about images, in the first existing one of `files`.

    key: column of the image's id, or of its lesion. columns: of labels, one with the classes by name, or by `values`,
    which are in lower case, or a 0/1 column for each class, whose other cells `values` has; of groups, the lesions or
    patients; of modalities, one whose words start with clinical for clinical images, the others are dermoscopic.
    rest: the class of a row of zeros. names: of the columns of files without a header.
    """

    files: tuple[str, ...]
    key: str
    columns: tuple[str, ...]
    values: Mapping[str, int] = field(default_factory=dict)
    rest: int | None = None
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Part:
    """Images of one split, and the files that describe them. In layouts.yaml, `splits` makes a part of each of its
    names, which stand for {} in the others.

    folders: image folders; those that exist are read together. inside: where in them the images are.
    hdf5: a file of encoded images by id, instead of the folders. lesion_folders: each folder of images is a lesion.
    masks: folders of lesion masks. masks_inside: where in them.
    """

    split: str | None
    folders: tuple[str, ...]
    labels: tuple[TableFile, ...] = ()
    groups: tuple[TableFile, ...] = ()
    modalities: tuple[TableFile, ...] = ()
    masks: tuple[str, ...] = ()
    inside: str = "*"
    masks_inside: str = "*"
    hdf5: str = ""
    lesion_folders: bool = False

    @property
    def tables(self) -> list[tuple[str, str]]:
        """(name, key) of every file with columns about the images."""
        return [(name, one.key) for one in (*self.labels, *self.groups, *self.modalities) for name in one.files]


@dataclass(frozen=True, slots=True)
class TableColumns:
    """A data set that is recognized by the columns of its table.

    file: its usual name. signature: columns that only this table has. columns: kind of column -> its names; several
    images are several per row. rename: cells of the labels in lower case -> class. modalities: of the image columns.
    joined: column by which another table's rows belong to this table's, besides those of images, lesions and patients.
    index_files: split -> a table of row numbers from 0, beside the table.
    """

    signature: tuple[str, ...]
    columns: Mapping[str, tuple[str, ...]]
    file: str = ""
    rename: Mapping[str, str] = field(default_factory=dict)
    modalities: tuple[str, ...] = ()
    joined: str = ""
    index_files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Layout:
    """One dataset, in folders (`parts`) or a table.

    scored_classes: those whose one-vs-rest AUCs are averaged, default all. metric: what its challenge or authors score.
    modality: of all images, if they are of one kind. note: for the documentation.
    """

    name: str
    license: str
    source: str
    metric: str
    modality: str = ""
    note: str = ""
    parts: tuple[Part, ...] = ()
    classes: tuple[str, ...] = ()
    scored_classes: tuple[str, ...] = ()
    table: TableColumns | None = None

    def choose_modality(self, modality: str | None) -> str | None:
        """The modality to choose among the images, None for all. Raises UserError if none of them is of it."""
        if modality and self.modality and modality != self.modality:
            raise UserError(f"--modality {modality}: the images of {self.name} are {self.modality}")
        return None if self.modality else modality


# Folder names that do not identify a dataset.
PLAIN_NAMES = frozenset({"train", "test", "jpeg/train", "jpeg/test", "train-image/image"})


@cache
def layouts() -> tuple[Layout, ...]:
    """All rows of the table."""
    rows = yaml.safe_load(Path(__file__).with_name("layouts.yaml").read_text())
    for row in rows:
        row["parts"] = [
            _filled({**part, "split": split}, name)
            for part in row.get("parts", [])
            for name, split in part["splits"].items()
        ]
        row.setdefault("scored_classes", row.get("classes", []))
    return TypeAdapter(tuple[Layout, ...]).validate_python(rows)


def _filled(value: Any, name: str) -> Any:
    """The value with `name` instead of {} in all texts in it."""
    if isinstance(value, dict):
        return {key: _filled(one, name) for key, one in value.items() if key != "splits"}
    if isinstance(value, list):
        return [_filled(one, name) for one in value]
    return value.replace("{}", name) if isinstance(value, str) else value


def layout_of_folder(name: str) -> Layout | None:
    """The dataset that a folder of this name officially belongs to, as images or masks."""
    return None if name in PLAIN_NAMES else _by_folder().get(name)


@cache
def _by_folder() -> dict[str, Layout]:
    pairs = [(part, layout) for layout in layouts() for part in layout.parts]
    return {name: layout for part, layout in pairs for name in (*part.folders, *part.masks)}


def layout_of_table(header: list[str]) -> Layout | None:
    """The dataset whose table has these columns."""
    return next((one for one in layouts() if one.table and set(one.table.signature) <= set(header)), None)


def annotation_names(data_set: str, task: Annotation) -> tuple[str, ...]:
    """The official label files or mask folders of a dataset; none for other names."""
    parts = [part for layout in layouts() if layout.name == data_set for part in layout.parts]
    if task == "mask":
        return tuple(dict.fromkeys(name for part in parts for name in part.masks))
    return tuple(dict.fromkeys(name for part in parts for one in part.labels for name in one.files))
