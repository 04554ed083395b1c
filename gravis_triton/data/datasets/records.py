"""Plain data that every kind of image collection is described with."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

from PIL import Image

from gravis_triton.errors import UserError

# What an image may be annotated with: its class, or the mask of its lesion.
Annotation = Literal["label", "mask"]


class ImageReference(Protocol):
    """Where one image (an image or a mask) can be had from; cheap to hold and to pickle."""

    def read(self, short_side: int | None = None) -> Image.Image:
        """Decode the image, upright (EXIF orientation applied).

        short_side: a decoder may return a smaller image, as long as its short side is at least this.
        Raises OSError or ValueError when the image cannot be decoded in full.
        """
        ...

    def fingerprint(self) -> str:
        """A string that changes whenever the image may have changed; costs no decoding."""
        ...


@dataclass(frozen=True, slots=True)
class Record:
    """One source image of a collection, and what is known of it. Raises UserError for an id that no file could have.

    label: index into `Collection.classes`, or None where it is unknown.
    group: lesion or patient; images of one group must not be split between training and evaluation.
    split: "train", "validation" or "test" where the data set has official splits.
    """

    id: str
    image: ImageReference
    label: int | None = None
    group: str | None = None
    split: str | None = None
    mask: ImageReference | None = None

    def __post_init__(self) -> None:
        parts = self.id.split("/")
        if not self.id or "\0" in self.id or parts[0] == "" or ".." in parts:
            raise UserError(f"image id {self.id!r}: must be a name or a relative path without '..'")

    def is_annotated(self, task: Annotation) -> bool:
        """Whether it can be learned from or scored by."""
        return (self.label if task == "label" else self.mask) is not None


@dataclass(frozen=True, slots=True)
class Collection:
    """The source images of one data set, in a fixed order.

    classes: names of the disease classes; empty where the data set has no labels.
    scored_classes: the classes whose one-against-rest AUCs are averaged: those the challenge scores, else all.
    """

    name: str
    records: tuple[Record, ...]
    classes: tuple[str, ...] = ()
    scored_classes: tuple[str, ...] = ()

    def labels(self, indices: Iterable[int]) -> list[int]:
        """The labels of the records `indices`, in their order. Raises ValueError for one that has none."""
        labels = []
        for index in indices:
            label = self.records[index].label
            if label is None:
                raise ValueError(f"image {self.records[index].id} has no label")
            labels.append(label)
        return labels

    def annotated(self, annotation: Annotation, indices: Iterable[int] | None = None) -> list[int]:
        """Those of the records `indices` (default: all) that have the annotation."""
        among = range(len(self.records)) if indices is None else indices
        return [index for index in among if self.records[index].is_annotated(annotation)]


def fingerprint_of(names: Iterable[str]) -> str:
    """A short text that changes with any of the names (ids of images, say) and with their order."""
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]
