"""Groups of images that stay together, joined from several columns: patients and lesions."""

from collections.abc import Mapping, Sequence

Name = tuple[int, str]  # of a patient or lesion: column number and cell


def joined_groups(columns: Mapping[str, Sequence[object]]) -> list[str | None]:
    """The group of each row: rows that share a cell of any column, directly or through other rows, are one group.

    columns: title -> one cell per row, None or "" if unknown. A group is named after a cell of its first column, with
    that column's title if there are several columns; None if all cells of a row are empty.
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
        roots = sorted(map(root, names))  # earlier columns give the name
        for other in roots[1:]:
            parents[other] = roots[0]
    prefixes = [f"{title} " if len(columns) > 1 else "" for title in columns]

    def called(name: Name) -> str:
        return prefixes[name[0]] + name[1]

    return [called(root(names[0])) if names else None for names in rows]
