"""Plain data classes that describe any kind of image collection."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from PIL import Image

from gravis_triton.errors import UserError

# What an image may be annotated with: its class, or its lesion mask.
Annotation = Literal["label", "mask"]

TOLERATED = 0.05
"""Share of the images that may be missing or unreadable; they are left out and counted."""


class ImageReference(Protocol):
    """A reference to one image or mask; cheap to keep and to pickle."""

    def read(self, short_side: int | None = None) -> Image.Image:
        """Decode the image, upright (EXIF orientation applied).

        short_side: a decoder may return a smaller image, as long as its short side is at least this.
        Raises OSError or ValueError if the image cannot be decoded in full.
        """
        ...

    def size(self) -> tuple[int, int]:
        """Upright (width, height) in full, from the image's header. Raises OSError or ValueError if it is damaged."""
        ...

    def fingerprint(self) -> str:
        """A string that changes whenever the image may have changed; needs no decoding."""
        ...


@dataclass(frozen=True, slots=True)
class Record:
    """One image of a collection and its annotations. Raises UserError for an id that no file could have.

    label: index into `Collection.classes`; in a multi-label collection the indices of its classes, perhaps none; None
    if unknown.
    group: lesion or patient; images of one group must not be split between training and evaluation.
    split: "train", "validation" or "test" if the dataset has official splits.
    """

    id: str
    image: ImageReference
    label: int | tuple[int, ...] | None = None
    group: str | None = None
    split: str | None = None
    mask: ImageReference | None = None

    def __post_init__(self) -> None:
        if not self.id or "\0" in self.id or self.id[0] == "/" or (".." in self.id and ".." in self.id.split("/")):
            raise UserError(f"image id {self.id!r}: must be a name or a relative path without '..'")

    @property
    def classes(self) -> tuple[int, ...]:
        """The indices of its classes; none if unknown."""
        return self.label if isinstance(self.label, tuple) else () if self.label is None else (self.label,)

    def is_annotated(self, task: Annotation) -> bool:
        """Whether the image has this annotation."""
        return (self.label if task == "label" else self.mask) is not None


@dataclass(frozen=True, slots=True)
class Collection:
    """The images of one dataset, in a fixed order.

    classes: names of the disease classes; empty if the dataset has no labels.
    scored_classes: the classes whose one-vs-rest AUCs are averaged: those the challenge scores, else all.
    notes: how the data were read, and what was left out and why; a line each for the user.
    multilabel: an image may have several classes, or none.
    """

    name: str
    records: tuple[Record, ...]
    classes: tuple[str, ...] = ()
    scored_classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    multilabel: bool = False

    def labels(self, indices: Iterable[int]) -> list[Any]:
        """The labels of the records `indices`, in their order: the index of the class; in a multi-label collection a 0
        or 1 for each class. Raises ValueError for a record that has none."""
        labels: list[Any] = []
        for index in indices:
            label = self.records[index].label
            if label is None:
                raise ValueError(f"image {self.records[index].id} has no label")
            labels.append([int(c in label) for c in range(len(self.classes))] if isinstance(label, tuple) else label)
        return labels

    @property
    def scored_indices(self) -> list[int]:
        """Indices of the scored classes."""
        return [self.classes.index(name) for name in self.scored_classes or self.classes]

    def class_names(self, record: Record) -> str | None:
        """The name of a record's class, None if unknown; in a multi-label collection those of its classes with bars."""
        return None if record.label is None else "|".join(self.classes[label] for label in record.classes)

    def annotated(self, annotation: Annotation, indices: Iterable[int] | None = None) -> list[int]:
        """Indices of the records, among `indices` (default: all), that have the annotation."""
        among = range(len(self.records)) if indices is None else indices
        return [index for index in among if self.records[index].is_annotated(annotation)]


def fingerprint_of(names: Iterable[str]) -> str:
    """A short hash of the names (image ids, for example) and their order."""
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]
