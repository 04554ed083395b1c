"""Groups of images that stay together, joined from several columns: patients and lesions."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from gravis_triton.data.datasets.frame import is_unknown

Name = tuple[int, str]  # of a patient or lesion: column number and cell

PATIENTS = frozenset({"patient_id", "patient"})
LESIONS = frozenset({"lesion_id", "lesion"})


def joined_groups(columns: Mapping[str, Sequence[object]]) -> list[str | None]:
    """The group of each row: rows that share a cell of any column, directly or through other rows, are one group.

    columns: title -> one cell per row, None or "" if unknown. A group is named after a cell of its first column, with
    that column's title if there are several columns; None if all cells of a row are empty.
    """
    if len(columns) == 1:
        (cells,) = columns.values()
        return [None if cell in (None, "") else str(cell) for cell in cells]
    parents: dict[Name, Name] = {}

    def root(name: Name) -> Name:
        while parents.setdefault(name, name) != name:
            parents[name] = name = parents[parents[name]]
        return name

    rows = [
        [(column, str(cell)) for column, cell in enumerate(cells) if cell not in (None, "")]
        for cells in zip(*columns.values(), strict=True)
    ]
    for names in rows:
        roots = sorted(map(root, names))  # earlier columns give the name
        for other in roots[1:]:
            parents[other] = roots[0]
    titles = list(columns)
    named = [root(names[0]) if names else None for names in rows]
    return [name and f"{titles[name[0]]} {name[1]}" for name in named]


def read_groups(columns: Mapping[str, Sequence[object]]) -> tuple[list[str | None], list[str]]:
    """(`joined_groups` of columns as people have them, lines for the user).

    Marks of unknown values are no group, and a lesion that several patients have is a number of its own in each.
    """
    known = {
        title: ["" if cell is None or is_unknown(str(cell)) else str(cell) for cell in cells]
        for title, cells in columns.items()
    }
    notes = []
    patients = next((cells for title, cells in known.items() if title.lower() in PATIENTS), None)
    for title in [title for title in known if title.lower() in LESIONS and patients]:
        owners: dict[str, set[str]] = defaultdict(set)
        for patient, lesion in zip(patients or (), known[title], strict=True):
            owners[lesion].add(patient)
        shared = {lesion for lesion, names in owners.items() if lesion and len(names - {""}) > 1}
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
