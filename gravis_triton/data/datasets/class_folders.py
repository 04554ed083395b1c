"""Folders of images as classes, or as lesions and patients."""

import os
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from gravis_triton.data.datasets.frame import is_unknown
from gravis_triton.data.datasets.groups import describe_groups
from gravis_triton.data.datasets.labels import are_cases, some

_CASE_FOLDER = re.compile(
    r"(patient|pat|pt|subject|person|case|lesion|imd)[-_ ]*\d+|[a-z]{0,5}[-_ ]?\d{4,}|[a-z]{1,3}[-_ ]?\d{3,}",
    re.IGNORECASE,
)
_NUMBERED_FOLDER = re.compile(r"(?!c\d)([a-z]{1,3})[-_ ]?\d+", re.IGNORECASE)  # c0 and c1 are classes


def classes_and_cases(
    folders: Sequence[str | None], parents: Sequence[str], splits: Sequence[str | None]
) -> tuple[tuple[str, ...], list[str | None], list[str]]:
    """(classes, group of each image, lines for the user). folders: the class folder of each image, or None. parents:
    all of its folders.

    Many folders of few images, or with names such as patient_7, are lesions or patients: instead of classes, or inside
    of them. A split may have no such folders: a test set without labels.
    """
    none: list[str | None] = [None] * len(folders)
    sorted_in = {split for split, folder in zip(splits, folders, strict=True) if folder}
    inside = [index for index, split in enumerate(splits) if split in sorted_in]
    names = {folders[index] or "" for index in inside}
    if "" in names or len(names) < 2:
        return (), none, []
    flat = sorted(str(split) for split in set(splits) - sorted_in)
    notes = [f"without a label: the {len(folders) - len(inside):,} images of {' and '.join(flat)}"] if flat else []
    kinds = ((folders, (), "not as classes"), (parents, tuple(sorted(names)), "inside of the classes"))
    for each, kept, where in kinds:
        cases = [_case_of(name or "") for name in each]
        distinct = {cases[index] or "" for index in inside}
        are_named = _are_named_as_cases(distinct)
        if are_named or are_cases(len(distinct), len(inside)):
            what = "named as cases" if are_named else "of few images each"
            notes += [f"{len(distinct):,} folders {what} are read as lesions, {where}"]
            notes += describe_groups(cases, f"{len(distinct):,} folders")
            return kept, cases, [*notes, *([] if kept else _describe_inner(parents, of_classes=False))]
    classes = tuple(sorted(name for name in names if not is_unknown(name)))
    unknown = sum(is_unknown(folders[index] or "") for index in inside)
    notes += [f"without a label: {unknown:,} images in folders such as unknown"] if unknown else []
    if len(classes) < 2:
        return (), none, notes
    return classes, none, [*notes, *_describe_inner(parents, of_classes=True)]


@lru_cache
def _case_of(path: str) -> str | None:
    """The path of the outermost folder in it that is named as a case, else the path itself; None for none."""
    parts = path.split("/")
    named = next((end for end, part in enumerate(parts, 1) if _CASE_FOLDER.fullmatch(part)), len(parts))
    return "/".join(parts[:named]) or None


def _are_named_as_cases(paths: Iterable[str]) -> bool:
    """Whether folders have names of cases, or are ten or more that differ by the number behind a few letters."""
    names = {os.path.basename(path) for path in paths}
    numbered = {found and found[1].lower() for found in map(_NUMBERED_FOLDER.fullmatch, names)}
    return all(map(_CASE_FOLDER.fullmatch, names)) or (len(names) >= 10 and len(numbered) == 1 and None not in numbered)


def _describe_inner(parents: Iterable[str], *, of_classes: bool) -> list[str]:
    """A line for the user about folders inside of classes or cases that may be the classes, if any."""
    pairs = [(outer, inner) for outer, _, inner in (parent.partition("/") for parent in parents) if inner]
    names = {inner for _, inner in pairs}
    if len(names) < 2 or are_cases(len(names), len(pairs)):
        return []
    outer = sorted({outer for outer, _ in pairs})
    found = f"the folders {some(sorted(names))}"
    if of_classes and len(outer) > 1 and len(set(pairs)) == len(outer) * len(names):
        return [f"warning: {some(outer)} each hold {found}: if these are the classes, give one of those as --data"]
    return [f"not read as labels: {found} in them (classes must be above)"]
