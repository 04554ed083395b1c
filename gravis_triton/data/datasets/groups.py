"""Groups of images that stay together, joined from several columns: patients and lesions."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from gravis_triton.data.datasets.columns import columns_named
from gravis_triton.data.datasets.frame import is_unknown

PATIENTS = ("patient_id", "subject_id", "patient")
LESIONS = ("lesion_id", "lesion")


def joined_groups(columns: Mapping[str, Sequence[str | None]]) -> list[str | None]:
    """The group of each row: rows that share a cell of any column, directly or through other rows, are one group.

    columns: title -> one cell per row, None or "" if unknown. A group is named after a cell of its first column, with
    that column's title if there are several columns; None if all cells of a row are empty.
    """
    if len(columns) == 1:
        (cells,) = columns.values()
        return [cell or None for cell in cells]
    # a node for each row, and after them one for each cell, in the order in which they give the name
    rows = len(next(iter(columns.values())))
    names: list[str] = []
    sources: list[int] = []
    targets: list[int] = []
    for title, cells in columns.items():
        filled = [row for row, cell in enumerate(cells) if cell]
        nodes = {cell: place for place, cell in enumerate(sorted(set(filter(None, cells))), rows + len(names))}
        names += [f"{title} {cell}" for cell in nodes]
        sources += filled
        targets += [nodes[cell] for cell in filter(None, cells)]
    if not targets:
        return [None] * rows
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(targets)), (sources, targets)), shape=(rows + len(names),) * 2)
    _, component = connected_components(graph, directed=False)
    first = dict(zip(reversed(component[rows:].tolist()), reversed(names), strict=True))
    return [first.get(number) for number in component[:rows].tolist()]


def read_groups(columns: Mapping[str, Sequence[object]], rows: int) -> tuple[list[str | None], list[str]]:
    """(`joined_groups` of columns as people have them, lines for the user); no groups without columns.

    Marks of unknown values are no group, and a lesion that several patients have is a number of its own in each.
    """
    if not columns:
        return [None] * rows, []
    known = {}
    for title, cells in columns.items():
        plain = {cell: re.sub(r"^(\d+)\.0$", r"\1", "" if cell is None else str(cell)) for cell in set(cells)}
        text = {cell: "" if is_unknown(name) else name for cell, name in plain.items()}
        known[title] = [text[cell] for cell in cells]
    notes = []
    patients = next((known[title] for title in columns_named(list(known), PATIENTS)), None)
    for title in columns_named(list(known), LESIONS) if patients else []:
        owners = Counter(lesion for lesion, patient in set(zip(known[title], patients or (), strict=True)) if patient)
        shared = {lesion for lesion, number in owners.items() if lesion and number > 1}
        if shared:
            known[title] = [
                f"{lesion} of {patient}" if lesion in shared and patient else lesion
                for patient, lesion in zip(patients or (), known[title], strict=True)
            ]
            notes.append(
                f"{title} restarts with every patient ({len(shared):,} of its values are of several): "
                "read as lesions of their patient"
            )
    groups = joined_groups(known)
    names = " and ".join(f"{len(set(cells) - {''}):,} {title}" for title, cells in known.items())
    return groups, [*describe_groups(groups, names), *notes]


def describe_groups(groups: Sequence[str | None], names: str) -> list[str]:
    """A line for the user about the size of the groups. names: what they are made of, such as "12 patient_id"."""
    sizes = Counter(group for group in groups if group is not None)
    if not sizes:
        return []
    name, most = sizes.most_common(1)[0]
    alone = len(groups) - sum(sizes.values())
    line = f"groups: {sum(sizes.values()):,} images of {names}, the largest group {name!r} with {most:,} images"
    return [f"{line}; {alone:,} images have none" if alone else line]
