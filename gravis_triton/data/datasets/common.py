"""The diagnoses that datasets have in common, so that a model trained on one can be tested on another."""

from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path

import yaml

from gravis_triton.data.datasets.records import Collection, Record
from gravis_triton.errors import UserError


@cache
def common_diagnoses() -> dict[str, str]:
    """Name in a dataset -> common diagnosis, from common.yaml."""
    rows = yaml.safe_load(Path(__file__).with_name("common.yaml").read_text())
    return {name: diagnosis for diagnosis, names in rows.items() for name in names}


def common_classes(collection: Collection) -> Collection:
    """The collection with its classes mapped to common diagnoses; images of other classes have no label.

    Raises UserError if none of its classes is one.
    """
    names = common_diagnoses()
    mapped = {
        name: names.get(" ".join(name.lower().replace("_", " ").replace("-", " ").split()))
        for name in collection.classes
    }
    present = set(mapped.values())
    classes = tuple(diagnosis for diagnosis in dict.fromkeys(names.values()) if diagnosis in present)
    if not classes:
        raise UserError(
            f"--classes common: none of the classes of {collection.name} ({', '.join(collection.classes) or 'none'}) "
            f"is {', '.join(dict.fromkeys(names.values()))}; a table may name another column with --columns label=NAME"
        )
    others = [name for name, diagnosis in mapped.items() if diagnosis is None]
    notes = [f"{name} is {diagnosis}" for name, diagnosis in mapped.items() if diagnosis not in (None, name)]
    return with_classes(collection, classes, mapped, [f"classes: {', '.join(notes)}"] if notes else [], others)


def external_test(training: Collection, test: Collection) -> Collection:
    """The training and validation images of one dataset, with the labeled images of another as the test split.

    Raises UserError if they have fewer than two classes in common, or only one of them is multi-label.
    """
    if training.multilabel != test.multilabel:
        raise UserError(f"--test-data: only one of {training.name} and {test.name} has several classes per image")
    shared = [name for name in training.classes if name in test.classes]
    if len(shared) < 2:
        raise UserError(
            f"--test-data: {training.name} ({', '.join(training.classes)}) and {test.name} ({', '.join(test.classes)}) "
            "have fewer than two classes in common; --classes common maps both to the same diagnoses"
        )
    mapped = {name: name if name in shared else None for name in test.classes}
    others = [name for name in test.classes if name not in shared]
    tested = with_classes(test, training.classes, mapped, [], others)
    own = [record for record in training.records if record.split != "test"]
    ids = {record.id for record in own}

    def foreign(record: Record) -> Record:
        group = None if record.group is None else f"{test.name}: {record.group}"
        name = f"{test.name}/{record.id}" if record.id in ids else record.id
        return replace(record, id=name, group=group, split="test")

    records = [*own, *(foreign(record) for record in tested.records if record.label is not None)]
    left = len(training.records) - len(own)
    notes = [*training.notes, *([f"left out: the {left:,} test images of {training.name}"] if left else [])]
    notes += [f"test set: {len(records) - len(own):,} images of {test.name}", *tested.notes]
    return replace(training, name=f"{training.name}, tested on {test.name}", records=tuple(records), notes=tuple(notes))


def with_classes(
    collection: Collection,
    classes: tuple[str, ...],
    mapped: dict[str, str | None],
    notes: list[str],
    others: list[str],
) -> Collection:
    """The collection with the class that each of its own is mapped to; images of `others` have no label, which a line
    says."""
    sizes = Counter(collection.classes[label] for one in collection.records for label in one.classes)
    if left := sum(sizes[name] for name in others):
        notes = [*notes, f"without a label: {left:,} images of {', '.join(others)}"]
    index = [None if (name := mapped[own]) is None else classes.index(name) for own in collection.classes]

    def label(one: Record) -> int | tuple[int, ...] | None:
        if isinstance(one.label, tuple):
            return tuple(sorted({place for label in one.label if (place := index[label]) is not None}))
        return None if one.label is None else index[one.label]

    records = tuple(replace(one, label=label(one)) for one in collection.records)
    scored = {mapped[name] for name in collection.scored_classes}
    return replace(
        collection,
        records=records,
        classes=classes,
        scored_classes=tuple(name for name in classes if name in scored),
        notes=(*collection.notes, *notes),
    )
