"""The data sets that are known by name, from layouts.yaml."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import yaml
from pydantic import TypeAdapter

from gravis_triton.data.datasets.records import Annotation
from gravis_triton.errors import UserError


@dataclass(frozen=True, slots=True)
class Table:
    """What the columns of a table mean.

    files: its usual names, of which the first existing one counts. columns: kind of column -> its names. Several images
    are several per row; beside folders of images, the one image column holds their ids or lesions. Several labels are a
    0/1 column for each class. A modality is clinical if its first word is, else dermoscopic.
    values: cells of the labels in lower case -> class, or 0 or 1. rest: the class of a row of zeros.
    names: of the columns of a file without a header.
    For tables without folders: signature: columns that only this table has. modalities: of the image columns. joined:
    column by which another table's rows belong to this table's, besides those of images, lesions and patients.
    index_files: split -> a table of row numbers from 0, beside the table.
    """

    files: tuple[str, ...] = ()
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    values: Mapping[str, str] = field(default_factory=dict)
    rest: str = ""
    names: tuple[str, ...] = ()
    signature: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ()
    joined: str = ""
    index_files: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The column of the images."""
        return self.columns["image"][0]


@dataclass(frozen=True, slots=True)
class Part:
    """Images of one split, and the tables about them. In layouts.yaml, `splits` makes a part of each of its names,
    which stand for {} in the others.

    folders: image folders; those that exist are read together. inside: where in them the images are.
    hdf5: a file of encoded images by id, instead of the folders. lesion_folders: each folder of images is a lesion.
    masks: folders of lesion masks. masks_inside: where in them.
    """

    split: str | None
    folders: tuple[str, ...]
    tables: tuple[Table, ...] = ()
    masks: tuple[str, ...] = ()
    inside: str = "*"
    masks_inside: str = "*"
    hdf5: str = ""
    lesion_folders: bool = False


@dataclass(frozen=True, slots=True)
class Layout:
    """One dataset, in folders (`parts`) or a table.

    scored_classes: those whose one-vs-rest AUCs are averaged, default all. metric: what its challenge or authors score.
    modality: of all images, if they are of one kind. note: for the documentation.
    """

    name: str = ""
    license: str = ""
    source: str = ""
    metric: str = ""
    modality: str = ""
    note: str = ""
    parts: tuple[Part, ...] = ()
    classes: tuple[str, ...] = ()
    scored_classes: tuple[str, ...] = ()
    table: Table = Table()

    def choose_modality(self, modality: str | None) -> str | None:
        """The modality to choose among the images, None for all. Raises UserError if none of them is of it."""
        if modality and self.modality and modality != self.modality:
            raise UserError(f"--modality {modality}: the images of {self.name} are {self.modality}")
        return None if self.modality else modality


UNKNOWN = Layout()
"""The layout of tables that are not known by name."""

# Folder names that do not identify a dataset.
PLAIN_NAMES = frozenset({"train", "test", "jpeg/train", "jpeg/test", "train-image/image"})


@cache
def layouts() -> tuple[Layout, ...]:
    """All rows of the table."""
    rows = yaml.safe_load(Path(__file__).with_name("layouts.yaml").read_text())
    for row in rows:
        row["parts"] = [
            {**json.loads(json.dumps(part).replace("{}", name)), "split": split}
            for part in row.get("parts", [])
            for name, split in part["splits"].items()
        ]
        row.setdefault("scored_classes", row.get("classes", []))
    return TypeAdapter(tuple[Layout, ...]).validate_python(rows)


def layout_of_folder(name: str) -> Layout | None:
    """The dataset that a folder of this name officially belongs to, as images or masks."""
    return _by_folder().get(name)


@cache
def _by_folder() -> dict[str, Layout]:
    pairs = [(part, layout) for layout in layouts() for part in layout.parts]
    named = {name: layout for part, layout in pairs for name in (*part.folders, *part.masks)}
    return {name: layout for name, layout in named.items() if name not in PLAIN_NAMES}


def layout_of_table(header: list[str]) -> Layout:
    """The dataset whose table has these columns, or `UNKNOWN`."""
    signed = (one for one in layouts() if one.table.signature)
    return next((one for one in signed if set(one.table.signature) <= set(header)), UNKNOWN)


def annotation_names(data_set: str, task: Annotation) -> tuple[str, ...]:
    """The official label files or mask folders of a dataset; none for other names."""
    parts = [part for layout in layouts() if layout.name == data_set for part in layout.parts]
    if task == "mask":
        return tuple(dict.fromkeys(name for part in parts for name in part.masks))
    tables = [table for part in parts for table in part.tables if "label" in table.columns]
    return tuple(dict.fromkeys(name for table in tables for name in table.files))
