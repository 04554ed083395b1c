"""Known data sets in their official layouts, recognized by folder names."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import NamedTuple, TypeVar

from gravis_triton.data.datasets.columns import COLUMNS, columns_named
from gravis_triton.data.datasets.folder import SUPERPIXELS, archives_hint, images_below, is_skipped
from gravis_triton.data.datasets.frame import TABLE_SUFFIXES, Frame, header_of, read_frame
from gravis_triton.data.datasets.groups import read_groups
from gravis_triton.data.datasets.image_files import is_image, stem_of
from gravis_triton.data.datasets.labels import read_labels
from gravis_triton.data.datasets.layouts import PLAIN_NAMES, Layout, Part, Table, layout_of_folder, layouts
from gravis_triton.data.datasets.records import TOLERATED, Collection, Record
from gravis_triton.data.datasets.references import HDF5Image, ImageFile, MaskFile, hdf5_keys
from gravis_triton.errors import UserError

Value = TypeVar("Value")

# An image in two splits belongs to the later of these: test images must not be trained on.
_SPLIT_ORDER = ("", "train", "validation", "test")

# Removed from the archive of HAM10000's test images and from scoring, but still in the label files.
_WITHDRAWN = "ISIC_0035068"

_NO_PHOTOGRAPH = (SUPERPIXELS, "_segmentation")


def open_known(directory: Path, *, modality: str | None = None) -> Collection | None:
    """The dataset in `directory`, or None if it has none of the official layouts.

    directory: absolute; holds the official folders, or is one of them: then only its images are read, with
    their annotations from the dataset's files beside it.
    modality: "dermoscopic" or "clinical" images only, of a dataset that has both.
    An image without a row of labels has label None. Raises UserError for labels without an image, malformed
    files, several datasets in one folder, and a folder of masks given as images.
    """
    own = _layout_around(directory)
    if own is not None:
        return _read(own, directory.parent, only=directory.name, modality=modality)
    inside = _recognized(directory)
    if len(inside) > 1:
        names = " and ".join(layout.name for layout in inside)
        raise UserError(f"{directory} holds {names}: put each in its own folder, or give one of the image folders")
    if inside:
        return _read(inside[0], directory, only=None, modality=modality)
    _check_labels_alone(directory)
    return None


def _layout_around(directory: Path) -> Layout | None:
    """The dataset that has `directory` as one of its folders."""
    if directory.name not in PLAIN_NAMES:
        return layout_of_folder(directory.name)
    around = _recognized(directory.parent)
    return next((layout for layout in around if directory.name in _folders(layout)), None)


def _recognized(directory: Path) -> list[Layout]:
    return [layout for layout in layouts() if any(_is_evidence(part, directory) for part in layout.parts)]


def _folders(layout: Layout) -> list[str]:
    return list(dict.fromkeys(folder for part in layout.parts for folder in part.folders))


def _is_evidence(part: Part, directory: Path) -> bool:
    """Whether images of the part are in `directory`; folders of plain names count beside one of its tables."""
    folders = [name for name in part.folders if (directory / name).is_dir()]
    if not PLAIN_NAMES.issuperset(folders):
        return True
    if not folders and not (part.hdf5 and (directory / part.hdf5).is_file()):
        return False
    files = ((table, _first_file(directory, table)) for table in part.tables)
    return any(file and {table.key, *table.columns.get("label", ())} <= {*header_of(file)} for table, file in files)


def _check_labels_alone(directory: Path) -> None:
    """Raise UserError for official labels without image folders: they would silently go unused, unless a table that
    lists images is with them, and images."""
    files = [file for file in directory.iterdir() if file.suffix.lower() in TABLE_SUFFIXES]
    listing = any(columns_named(header_of(file), COLUMNS["image"]) for file in files)
    if listing and next(images_below(directory), None):
        return
    for layout in layouts():
        for part in layout.parts:
            for name in [name for table in part.tables if "label" in table.columns for name in table.files]:
                if name not in _COMMON_FILES and (directory / name).is_file():
                    raise UserError(
                        f"{directory} holds the labels {name} of {layout.name} but not their images: "
                        f"expected the folder {' or '.join(part.folders)} beside them"
                    )


_COMMON_FILES = frozenset({"train.csv", "train-metadata.csv"})  # other data sets have files of these names


def _first_file(root: Path, table: Table) -> Path | None:
    return next((root / name for name in table.files if (root / name).is_file()), None)


def _read(layout: Layout, root: Path, *, only: str | None, modality: str | None) -> Collection:
    records: dict[str, Record] = {}
    notes = [f"read as {layout.name} ({layout.license})"]
    modality = layout.choose_modality(modality)
    for part in layout.parts:
        read, told = _read_part(part, root, layout.classes, only, modality)
        notes += told
        for record in read:
            known = records.get(record.id)
            records[record.id] = record if known is None else _merged(known, record)
    if not records:
        where = root if only is None else root / only
        expected = ", ".join(folder for folder in _folders(layout) if folder not in PLAIN_NAMES)
        raise UserError(f"{where}: no images of {layout.name} in it; expected JPEG files in {expected}")
    own = {name for part in layout.parts for table in part.tables for name in table.files}
    tables = sorted(path.name for path in root.iterdir() if path.suffix.lower() in TABLE_SUFFIXES)
    if unread := [name for name in tables if name not in own]:
        notes.append(f"tables that are not read: {', '.join(unread)}")
    ordered = sorted(records.values(), key=lambda record: (_SPLIT_ORDER.index(record.split or ""), record.id))
    has_labels = any(record.label is not None for record in ordered)
    classes, scored = (layout.classes, layout.scored_classes) if has_labels else ((), ())
    return Collection(layout.name, tuple(ordered), classes, scored, tuple(dict.fromkeys(notes)))


def _merged(first: Record, second: Record) -> Record:
    lacking = [name for name in ("label", "group", "mask") if getattr(first, name) is None]
    split = max(first.split or "", second.split or "", key=_SPLIT_ORDER.index) or None
    return replace(first, split=split, **{name: getattr(second, name) for name in lacking})


def _read_part(
    part: Part, root: Path, classes: tuple[str, ...], only: str | None, modality: str | None
) -> tuple[list[Record], list[str]]:
    """(its records, lines for the user)."""
    folders = [root / name for name in part.folders if only in (None, name) and (root / name).is_dir()]
    hdf5 = root / part.hdf5
    if folders:
        files = _files_by_id(folders, part.inside)
    elif part.hdf5 and only is None and hdf5.is_file():
        files = dict.fromkeys(hdf5_keys(hdf5), hdf5)
    else:
        return [], []
    notes = [f"images: {', '.join(folder.relative_to(root).as_posix() for folder in folders) or part.hdf5}"]
    tables = [_open(file, table) for table in part.tables if (file := _first_file(root, table))]
    read, told = _of_modality(files, part, tables, root, modality)
    names = {
        image: [image, _base(image), *([file.parent.name] if part.lesion_folders else [])]
        for image, file in files.items()
    }
    is_whole = only is None or len(part.folders) == 1
    where = ", ".join(map(str, folders))
    labels, more = _labels(tables, classes, root, {*chain(*names.values())} if is_whole else None, where)
    groups, most = _groups(part, tables, {image: names[image] for image in read})
    masks = _masks([root / name for name in part.masks], part.masks_inside)
    records = []
    for (image, file), group in zip(read.items(), groups, strict=True):
        mask = masks.get(_base(image))
        records.append(
            Record(
                image,
                ImageFile(str(file)) if folders else HDF5Image(str(file), image),
                _look_up(labels, names[image]),
                group,
                part.split,
                None if mask is None else MaskFile(str(mask), str(file)),
            )
        )
    return records, [*notes, *told, *more, *most]


class _Opened(NamedTuple):
    """A table about images. ids: the image or lesion of each row."""

    table: Table
    frame: Frame
    ids: list[str]

    def columns(self, kind: str) -> list[str]:
        """Those of a kind that it has; the tables of test splits often have no labels."""
        return [column for column in self.table.columns.get(kind, ()) if column in self.frame.header]

    def by_id(self, column: str) -> dict[str, str]:
        return dict(zip(self.ids, self.frame.cells(column), strict=True))


def _open(file: Path, table: Table) -> _Opened:
    """Raises UserError for an id in two rows."""
    labels = table.columns.get("label", ())
    frame = read_frame(file, [table.key, *(labels if len(labels) > 1 else ())], names=table.names)
    ids = [stem_of(cell) if is_image(cell) else cell for cell in frame.cells(table.key)]
    first: dict[str, int] = {}
    for row, name in enumerate(ids):
        if first.setdefault(name, row) != row:
            line = frame.place(first[name]).rpartition(" ")[2]
            raise UserError(f"{frame.place(row)}: image id {name} is already on line {line}")
    return _Opened(table, frame, ids)


def _labels(
    tables: Sequence[_Opened], classes: tuple[str, ...], root: Path, images: set[str] | None, where: str
) -> tuple[dict[str, int], list[str]]:
    """(image or lesion id -> label, by the first table that has labels, lines for the user).

    images: the names of all images, which are in `where`, if labels without an image are a fault; more than a few raise
    UserError.
    """
    for one in tables:
        columns = one.columns("label")
        _, of_rows, _ = read_labels(one.frame, columns, one.table, classes)
        labels = {name: label for name, label in zip(one.ids, of_rows, strict=True) if label is not None}
        labels.pop(_WITHDRAWN, None)
        if not labels:
            continue
        file = one.frame.file
        notes = [f"labels: {file.relative_to(root)}, {columns[0] if len(columns) == 1 else '0/1 columns'}"]
        missing = [name for name in labels if images is not None and images.isdisjoint((name, _base(name)))]
        text = (
            f"{len(missing)} of {len(labels)} labels in {file} have no image in {where}, e.g. {', '.join(missing[:3])}"
        )
        if len(missing) > TOLERATED * len(labels):
            rest = "" if ", " in where else f"; add the missing images, or give only {where} as --data"
            raise UserError(text + (archives_hint(root) or rest))
        return labels, [*notes, *([f"left out: {text}"] if missing else [])]
    return {}, []


def _groups(
    part: Part, tables: Sequence[_Opened], names: Mapping[str, Sequence[str]]
) -> tuple[list[str | None], list[str]]:
    """(group of each image, lines for the user). names: image -> what tables call it."""
    columns = {"lesion_id": [own[-1] for own in names.values()]} if part.lesion_folders else {}
    for one in tables:
        for column in one.columns("group"):
            cells = one.by_id(column)
            columns.setdefault(column, [_look_up(cells, own) or "" for own in names.values()])
    return read_groups({name: cells for name, cells in columns.items() if any(cells)}, len(names))


def _files_by_id(folders: list[Path], inside: str) -> dict[str, Path]:
    """Image id -> file, sorted by id."""
    found: dict[str, Path] = {}
    for folder in folders:
        for path in _images(folder, inside):
            if path.stem in found:
                raise UserError(f"two images have the id {path.stem}: {found[path.stem]} and {path}")
            if not path.stem.lower().endswith(_NO_PHOTOGRAPH):
                found[path.stem] = path
    return dict(sorted(found.items()))


def _images(folder: Path, inside: str = "*") -> list[Path]:
    """The image files of an official folder, which may be in a single folder inside it."""
    paths = folder.iterdir() if inside == "*" else folder.glob(inside)
    images = [path for path in paths if is_image(path.name)]
    nested = [] if images else [path for path in folder.iterdir() if path.is_dir() and not is_skipped(path)]
    return _images(nested[0], inside) if len(nested) == 1 else images


def _masks(folders: list[Path], inside: str) -> dict[str, Path]:
    """Image id -> mask file; the suffix is written _segmentation or _Segmentation."""
    paths = [path for folder in folders if folder.is_dir() for path in _images(folder, inside)]
    endings = ("_segmentation", "_lesion")
    return {path.stem.rpartition("_")[0]: path for path in paths if path.stem.lower().endswith(endings)}


def _of_modality(
    files: dict[str, Path], part: Part, tables: Sequence[_Opened], root: Path, modality: str | None
) -> tuple[dict[str, Path], list[str]]:
    """(the images of one modality, lines for the user)."""
    cells = {
        image: cell for one in tables for name in one.columns("modality") for image, cell in one.by_id(name).items()
    }
    if not cells:
        if modality:
            name = next((name for one in part.tables if "modality" in one.columns for name in one.files), "file")
            raise UserError(f"--modality {modality}: {root} has no {name} that tells clinical from dermoscopic images")
        return files, []
    kinds = {
        image: "clinical" if kind.lower().startswith("clinical") else "dermoscopic" for image, kind in cells.items()
    }
    read = {image: file for image, file in files.items() if modality in (None, kinds.get(image))}
    sizes = Counter(kinds.get(image, "unknown") for image in read)
    counts = ", ".join(f"{size:,} {kind}" for kind, size in sizes.items())
    return read, [f"modality: {counts}" + ("" if modality else " (--modality reads one)")]


def _base(image_id: str) -> str:
    """The id without _downsampled, which ISIC 2019 appends for images it made smaller."""
    return image_id.removesuffix("_downsampled")


def _look_up(values: Mapping[str, Value], names: Sequence[str]) -> Value | None:
    return next((values[name] for name in names if name in values), None)
