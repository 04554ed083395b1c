"""Groups of images that stay together, where several columns tell of them: patients, and lesions."""

from collections.abc import Mapping, Sequence

Name = tuple[int, str]  # of a patient or lesion: the number of its column, and its cell


def joined_groups(columns: Mapping[str, Sequence[object]]) -> list[str | None]:
    """The group of each row: rows that share a cell of any column are of one group, as are rows joined by others.

    columns: title -> one cell a row, None or "" where it is not known. A group is called by a cell of the first column
    that tells of it, and by that column's title where there are several; None where all cells of a row are empty.
    """
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
        roots = sorted(map(root, names))  # those of earlier columns give the name
        for other in roots[1:]:
            parents[other] = roots[0]
    prefixes = [f"{title} " if len(columns) > 1 else "" for title in columns]

    def called(name: Name) -> str:
        return prefixes[name[0]] + name[1]

    return [called(root(names[0])) if names else None for names in rows]
