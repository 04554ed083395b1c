"""Groups of images that stay together, joined from several columns: patients and lesions."""

from collections import Counter
from collections.abc import Mapping, Sequence

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
    # a number for each cell, in the order in which they give the name; the first one of a group is the top of its tree
    names: list[str] = []
    numbers: list[list[int]] = []
    for title, cells in columns.items():
        own = {cell: number for number, cell in enumerate(sorted(set(filter(None, cells))), len(names))}
        names += [f"{title} {cell}" for cell in own]
        numbers.append([own[cell] if cell else -1 for cell in cells])
    above = list(range(len(names)))

    def top(number: int) -> int:
        while above[number] != number:
            above[number] = number = above[above[number]]
        return number

    rows = list(zip(*numbers, strict=True))
    filled = {row: [number for number in row if number >= 0] for row in set(rows)}
    for first, *others in filter(None, filled.values()):
        for number in others:
            upper, lower = sorted((top(first), top(number)))
            above[lower] = upper
    group = {row: names[top(own[0])] if own else None for row, own in filled.items()}
    return [group[row] for row in rows]


def read_groups(columns: Mapping[str, Sequence[str | None]], rows: int) -> tuple[list[str | None], list[str]]:
    """(`joined_groups` of columns as people have them, lines for the user); no groups without columns.

    Marks of unknown values are no group, and a lesion that several patients have is a number of its own in each.
    """
    if not columns:
        return [None] * rows, []
    known = {}
    for title, cells in columns.items():
        ids = {cell: cell.removesuffix(".0") for cell in set(cells) if cell and not is_unknown(cell)}
        text = {cell: number if number.isdecimal() else cell for cell, number in ids.items()}
        known[title] = [text.get(cell or "", "") for cell in cells]
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
