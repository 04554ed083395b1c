"""The images of pre-training, and the training, validation and test sets of fine-tuning."""

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gravis_triton.data.datasets.labels import alike_names
from gravis_triton.data.datasets.layouts import annotation_names
from gravis_triton.data.datasets.records import Annotation, Collection, Record, fingerprint_of
from gravis_triton.data.splits.label_fractions import stratified_draw
from gravis_triton.errors import UserError
from gravis_triton.files import atomic_write

_LARGE_GROUP = 0.2  # of the images; larger ones are probably no lesion or patient
_UNREAD = ("no labels are read", "not read as labels", "tables that are not read", "without a label")
_MAX_CLASSES = 12  # in a line for the user


@dataclass(frozen=True, slots=True)
class Split:
    """Indices of the records of each part, ascending; no image and no lesion or patient is in two parts."""

    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]

    def parts(self) -> dict[str, tuple[int, ...]]:
        """Part name -> its record indices."""
        return {"train": self.train, "validation": self.validation, "test": self.test}


def pooled(collection: Collection) -> Collection:
    """The collection with its official training and validation images in one pool, to be split again; the official test
    split stays."""
    records = tuple(record if record.split == "test" else replace(record, split=None) for record in collection.records)
    return replace(collection, records=records)


def hold_out(collection: Collection, *, fraction: float = 0.2, seed: int) -> tuple[list[int], list[int]]:
    """(indices of the records for pre-training, indices of those for evaluation), each in ascending order.

    Evaluation: the labeled images of the official validation split if there are any, else `fraction` of
    the labeled images outside the test split, drawn by `seed` class by class, whole groups (lesions or
    patients) at a time; a group of several classes counts as its rarest. Likewise for images with a mask but no
    label. Empty for a collection without either.
    Pre-training: all others, except the official test split and images that share a group with an evaluation
    or test image.
    Raises ValueError unless 0 < fraction < 1.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"fraction {fraction}: must be between 0 and 1")
    records = collection.records
    test = {index for index, record in enumerate(records) if record.split == "test"}
    tested = {records[index].group for index in test} - {None}
    open_ = [i for i, record in enumerate(records) if i not in test and record.group not in tested]
    labeled = [i for i in open_ if records[i].label is not None]
    with_mask = [i for i in open_ if records[i].label is None and records[i].mask is not None]
    held = _held(records, labeled, fraction, seed) | _held(records, with_mask, fraction, seed)
    closed = {records[index].group for index in held} - {None}
    training = [i for i in open_ if i not in held and records[i].group not in closed]
    return training, sorted(held)


def split_collection(collection: Collection, *, val_fraction: float, seed: int, annotation: Annotation) -> Split:
    """Split the images that have the annotation into training, validation and test set.

    test: those of the official test split; if it has none, those that `hold_out` keeps out of pre-training: an
        encoder that was pre-trained with the same fraction and seed has not seen them.
    validation: those of the official validation split unless they are the test part already, else `val_fraction` of the
        remaining ones, drawn class by class, whole groups at a time.
    train: the others, without those that share a group with a test or validation image.
    Raises UserError if no image is annotated, a part is empty, or all training images are of one class.
    """
    records = collection.records
    annotated = set(collection.annotated(annotation))
    check_annotated(collection, annotation)
    free, held = hold_out(collection, fraction=val_fraction, seed=seed)
    remaining = [index for index in free if index in annotated]
    validation = {index for index in held if index in annotated}
    test = {index for index in annotated if records[index].split == "test"}
    if not test:
        test, validation = validation, set()
    if not validation:
        # whole groups: none of them is left to train on
        validation = stratified_draw(records, remaining, val_fraction, seed)
    train = [index for index in remaining if index not in validation]
    split = Split(tuple(train), tuple(sorted(validation)), tuple(sorted(test)))
    _check_empty_parts(split, collection, annotation, val_fraction)
    if annotation == "label":
        _check_one_class(split, collection)
    return split


def check_annotated(collection: Collection, annotation: Annotation) -> None:
    """Raise UserError if no image has the annotation, with the official names of the missing files and with what is not
    read."""
    if not collection.annotated(annotation):
        unread = [note for note in collection.notes if annotation == "label" and note.startswith(_UNREAD)]
        reason = "; ".join([_expected(collection, annotation), *unread])
        raise UserError(f"{collection.name} has no image with a {annotation}{reason}")


def describe_split(split: Split, collection: Collection, annotation: Annotation) -> list[str]:
    """Lines for the user: the size of each part, lesions and patients, classes, images without the annotation, and
    warnings about a group or a class that is probably a mistake."""
    sizes = ", ".join(f"{len(indices):,} {part}" for part, indices in split.parts().items())
    lines = [f"images with a {annotation}: {sizes}"]
    bare = [record.id for record in collection.records if not record.is_annotated(annotation)]
    if bare:
        total = len(collection.records)
        examples = ", ".join(bare[:3])
        lines.append(f"left out: {len(bare):,} of {total:,} images have no {annotation}, e.g. {examples}")
    used = [index for indices in split.parts().values() for index in indices]
    if shared := len(collection.annotated(annotation)) - len(used):
        lines.append(
            f"left out: {shared:,} images with a {annotation} are of lesions or patients that are in a later part"
        )
    lines += _describe_groups(collection, used)
    if annotation == "label":
        lines += _describe_classes(collection, used)
        # no error: in ISIC 2019 only the test split has images of the class UNK
        for part, indices in split.parts().items():
            present = {label for index in indices for label in collection.records[index].classes}
            absent = [name for label, name in enumerate(collection.classes) if label not in present]
            unscored = ", which the mean AUC leaves out" if collection.multilabel and part == "test" else ""
            if absent:
                lines.append(f"warning: no {part} image of {', '.join(absent)}{unscored}")
            common = set(range(len(collection.classes))).intersection(*(collection.records[i].classes for i in indices))
            if common and collection.multilabel:
                names = ", ".join(collection.classes[label] for label in sorted(common))
                lines.append(f"warning: all {part} images are of {names}{unscored}")
    return lines


def _describe_groups(collection: Collection, used: Sequence[int]) -> list[str]:
    groups = Counter(group for index in used if (group := collection.records[index].group) is not None)
    if not groups:
        return ["no lesion or patient is known: images are split one by one"]
    name, most = groups.most_common(1)[0]
    lines = [f"{len(groups):,} lesions or patients, each in one part"]
    if most > max(_LARGE_GROUP * len(used), 2):
        lines.append(f"warning: {most:,} of {len(used):,} images are of one lesion or patient, {name!r}")
    return lines


def _describe_classes(collection: Collection, used: Sequence[int]) -> list[str]:
    sizes = Counter(collection.classes[label] for index in used for label in collection.records[index].classes)
    shown = ", ".join(f"{sizes[name]:,} {name}" for name in collection.classes[:_MAX_CLASSES])
    more = ", ..." if len(collection.classes) > _MAX_CLASSES else ""
    lines = [f"{len(collection.classes):,} classes: {shown}{more}"]
    if twice := alike_classes(collection.classes):
        lines.append(f"warning: classes that differ only in case or signs: {', '.join(twice)}")
    return lines


def alike_classes(classes: Sequence[str]) -> list[str]:
    """ "A and B" for classes whose names have the same letters and digits."""
    return alike_names(classes, lambda name: re.sub(r"[\W_]+", "", name.casefold()) or name)


def split_fingerprint(split: Split, collection: Collection, *others: str) -> str:
    """A short hash that changes with the images of any part, and with `others`."""
    names = (f"{part} {collection.records[index].id}" for part, indices in split.parts().items() for index in indices)
    return fingerprint_of([*others, *names])


def write_split(split: Split, collection: Collection, file: Path) -> None:
    """Write the part of each image: a CSV file of image_id and part (train, validation or test)."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image_id", "part"])
    for part, indices in split.parts().items():
        writer.writerows([collection.records[index].id, part] for index in indices)
    atomic_write(file, text.getvalue())


def _held(records: Sequence[Record], annotated: list[int], fraction: float, seed: int) -> set[int]:
    official = {index for index in annotated if records[index].split == "validation"}
    return official or stratified_draw(records, annotated, fraction, seed)


def _expected(collection: Collection, annotation: Annotation) -> str:
    official = annotation_names(collection.name, annotation)
    if official:
        what = "" if annotation == "label" else "ISIC_*_segmentation.png in "
        return f": expected {what}{', '.join(official)} beside its image folders"
    if annotation == "label":
        return ": give a folder with a sub-folder for each class (and no table), a label column or an ISIC layout"
    return ": give an official ISIC layout with its mask folders, or a dataset with a mask column"


def _check_empty_parts(split: Split, collection: Collection, annotation: Annotation, val_fraction: float) -> None:
    empty = [part for part, indices in split.parts().items() if not indices]
    if not empty:
        return
    sizes = ", ".join(f"{len(indices)} {part}" for part, indices in split.parts().items())
    more = f"give more images with a {annotation}"
    hint = more if split.train else f"lower --val-fraction, {more}"
    groups = ""
    if any(record.group is not None for record in collection.records):
        groups = ", which --columns group=NAME or group= (none) sets"
    bare = len(collection.annotated(annotation)) < len(collection.records)
    expected = f"{_expected(collection, annotation)};" if bare else ":"
    raise UserError(
        f"{collection.name} has no {' and no '.join(empty)} image with a {annotation} ({sizes} at "
        f"--val-fraction {val_fraction:g}; images of one lesion or patient stay together{groups}){expected} "
        f"{hint} or split again with --split-seed"
    )


def _check_one_class(split: Split, collection: Collection) -> None:
    present = {collection.records[index].label for index in split.train}
    if len(present) == 1:
        name = collection.class_names(collection.records[split.train[0]]) or "none"
        raise UserError(f"all {len(split.train)} training images are of the class {name}: give at least two classes")
