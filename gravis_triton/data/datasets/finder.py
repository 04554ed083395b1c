"""Find the image files that tables name, and the tables that belong together."""

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

from gravis_triton.data.datasets.columns import COLUMNS, SPLITS, Chosen, columns_named
from gravis_triton.data.datasets.folder import split_named, split_of_path
from gravis_triton.data.datasets.frame import Frame
from gravis_triton.data.datasets.groups import LESIONS, PATIENTS
from gravis_triton.data.datasets.image_files import composed, is_image, stem_of
from gravis_triton.data.datasets.labels import is_binary
from gravis_triton.data.datasets.layouts import layout_of_table
from gravis_triton.errors import UserError

_ENOUGH = 200  # cells that tell whether a column names images


class Finder:
    """Find files by what a table calls them: a path, the end of one, a name, or a name without its suffix.

    A file is known by its path relative to `directory`, or by its full path if it is elsewhere.
    """

    def __init__(self, directory: Path, paths: Iterable[str]) -> None:
        self.directory = directory
        self._by_stem: dict[str, list[str]] = defaultdict(list)
        for path in paths:
            self._by_stem[stem_of(_name(path))].append(path)
        self._by_plain_stem: dict[str, list[str]] = defaultdict(list)

    def full(self, path: str) -> str:
        """The full path of a file that was found."""
        return path if os.path.isabs(path) else f"{self.directory}/{path}"

    def example(self) -> str:
        """The words ", such as NAME" with one of the files."""
        return "".join(f", such as {found[0]}" for found in islice(self._by_stem.values(), 1))

    def find(self, frame: Frame, row: int, column: str, cell: str) -> str | None:
        """The file that a cell names, or None. Raises UserError if there are several."""
        found = self.match(cell)
        if cell and (not found or ("/" in cell and _normal(found[0]) != _normal(cell))):
            for around in dict.fromkeys((self.directory, frame.file.parent)):
                if os.path.isfile(around / cell):  # False for a name that is too long
                    full = os.path.abspath(around / cell).replace(os.sep, "/")
                    return full.removeprefix(os.path.abspath(self.directory).replace(os.sep, "/") + "/")
        if len(found) > 1 and "split" in frame.header:
            split = SPLITS.get(frame.cells("split")[row].lower())
            found = [path for path in found if split and split in map(split_named, path.split("/")[:-1])] or found
        if len(found) > 1:
            expected = f"such as {self.full(found[0])} or {self.full(found[1])}; --images DIR leaves out other folders"
            raise frame.fault(row, column, f"a path that matches only one file ({expected})")
        return found[0] if found else None

    def match(self, cell: str) -> list[str]:
        """The file of this path, else files that end with the cell, else those with its last part as their name."""
        found = self._by_stem.get(cell, [])
        if len(found) == 1:
            return found
        normal, name = _normal(cell), _name(cell)
        found = [
            *self._by_stem.get(name, ()),
            *(path for path in self._by_stem.get(stem_of(name), ()) if _name(path) == name and stem_of(name) != name),
        ]
        found = found or self._alike(name)
        ends = (f"/{normal}", f"/{normal}.") if "/" in normal else ()
        same = [path for path in found if _normal(path) == normal]
        below = [path for path in found if any(end in f"/{_normal(path)}" for end in ends)]
        below = below or [path for path in found if "/" in path and f"/{normal}".endswith(f"/{_normal(path)}")]
        split = split_of_path(normal)
        return same or below or [path for path in found if split is None or split_of_path(path) in (None, split)]

    def _alike(self, name: str) -> list[str]:
        """Files whose names differ from this one in capitals, or in the suffix of an image."""
        if not self._by_plain_stem:
            for stem, paths in self._by_stem.items():
                self._by_plain_stem[stem.casefold()] += paths
        return self._by_plain_stem.get((stem_of(name) if is_image(name) else name).casefold(), [])

    def knows(self, cells: Sequence[str]) -> bool:
        """Whether cells name files: nearly all of the first ones."""
        some = list(islice(filter(None, cells), _ENOUGH))
        return sum(bool(self.match(cell)) for cell in some) > len(some) / 2


def _normal(name: str) -> str:
    """The name as all systems write it: Windows has backslashes, and macOS splits umlauts into letter and accent. Of an
    address, without what follows a question mark."""
    name = name.partition("?")[0] if "://" in name else name
    return composed(name).replace("\\", "/")


def _name(path: str) -> str:
    """The normal name of a file, without its folders."""
    normal = _normal(path)
    return normal[normal.rfind("/") + 1 :]


def join_tables(frames: Sequence[Frame], named: Chosen, images: Finder) -> tuple[Frame, list[str]]:
    """(the table that lists images, with columns that it lacks from the others; names of those that are not read).

    Rows belong together by image, lesion or patient. Tables with the names of splits are one. Raises UserError if two
    others list images.
    """
    if len(frames) == 1:
        return frames[0], []
    base = max(frames, key=lambda frame: listed_images(frame, named, images))
    splits: dict[str, list[Frame]] = defaultdict(list)
    for frame in frames:
        if (split := _split_of(frame)) and listed_images(frame, named, images):
            splits[split].append(frame)
    is_split = "train" in splits and len(splits) > 1
    if is_split:
        base = Frame.stacked({split: _joined(own, named) for split, own in splits.items()})
        frames = [frame for frame in frames if not any(frame in own for own in splits.values())]
    unread = []
    for other in [frame for frame in frames if frame is not base]:
        wanted = _lacking(base, other, named)
        rows = _rows_of(base, other) if wanted else None
        if rows:
            base.join(other, rows, wanted)
        elif not is_split and listed_images(other, named, images):
            names = ", ".join(frame.file.name for frame in frames)
            raise UserError(
                f"{base.file.parent} holds {len(frames)} tables ({names}): give one of these files as --data"
            )
        else:
            unread.append(other.file.name)
    return base, unread


def _joined(frames: Sequence[Frame], named: Chosen) -> Frame:
    """The first of several tables about the same images, with the columns that it lacks from the others."""
    first, *others = frames
    for other in others:
        rows = _rows_of(first, other)
        if rows is None or None in rows:
            raise UserError(
                f"{first.name} and {other.name} in {first.file.parent} are both of one split: join them in one table, "
                "or give one as --data"
            )
        first.join(other, rows, _lacking(first, other, named))
    return first


def _split_of(frame: Frame) -> str | None:
    """The split that the name of a table without a column of splits has among its words, such as test_labels.csv."""
    words = re.split(r"[\W_]+", frame.file.stem.lower())
    splits = {SPLITS[word] for word in words if word in SPLITS}
    return splits.pop() if len(splits) == 1 and "split" not in map(str.lower, frame.header) else None


def listed_images(frame: Frame, named: Chosen, images: Finder) -> int:
    """The number of rows of a table that names images, else 0."""
    of_layout = layout_of_table(frame.header).table.columns.get("image", ())
    listing = columns_named(frame.header, (*named.get("image", ()), *of_layout, *COLUMNS["image"]))
    return len(frame) if any(images.knows(frame.cells(name)) for name in listing) else 0


def _lacking(base: Frame, other: Frame, named: Chosen) -> list[str]:
    """Columns of another table that the base needs: those that are named, or of a kind that it does not have."""
    of_layout = layout_of_table(base.header).table.columns
    needed = {name for names in (*named.values(), *of_layout.values()) for name in names} - set(base.header)
    if of_layout:
        return [name for name in other.header if name in needed]
    lacked = [name for name in other.header if not columns_named(base.header, [name])]
    for kind, accepted in COLUMNS.items():
        if kind == "group" or (kind != "image" and not columns_named(base.header, accepted)):
            needed.update(columns_named(lacked, accepted))
    if not columns_named([*base.header, *needed], COLUMNS["label"]):
        binary = {name for name in other.header if name not in base.header and is_binary(other.cells(name))}
        needed |= binary if len(binary) > 1 else set()
    return [name for name in other.header if name in needed and name not in base.header]


def _rows_of(base: Frame, other: Frame) -> list[int | None] | None:
    """The row of another table for each row of the base, by the first key that both have and that is unique."""
    for keys in (COLUMNS["image"], LESIONS, PATIENTS, (layout_of_table(base.header).table.joined,)):
        mine = next(iter(columns_named(base.header, keys)), None)
        its = next(iter(columns_named(other.header, keys)), None)
        if mine is None or its is None:
            continue
        for key in (_id,) if keys in (LESIONS, PATIENTS) else (_image_name, _normal):
            cells, own = [key(cell) for cell in other.cells(its)], [key(cell) for cell in base.cells(mine)]
            index = {cell: row for row, cell in enumerate(cells)}
            rows = [index.get(cell) for cell in own]
            is_unique = len(index) == len(cells) and (key is not _image_name or len(set(own)) == len(own))
            if is_unique and any(row is not None for row in rows):
                return rows
    return None


def _image_name(cell: str) -> str:
    """An image's name without folders and suffix."""
    name = _name(cell)
    return (stem_of(name) if is_image(name) else name).casefold()


def _id(cell: str) -> str:
    """A number that was read as a fraction is one without."""
    return cell.removesuffix(".0")
