"""Known data sets in their official layouts, recognized by folder names."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from gravis_triton.data.datasets.folder import is_image
from gravis_triton.data.datasets.frame import TABLE_SUFFIXES, header_of
from gravis_triton.data.datasets.groups import read_groups
from gravis_triton.data.datasets.label_files import read_columns, read_label_file
from gravis_triton.data.datasets.layouts import (
    PLAIN_NAMES,
    Layout,
    Part,
    layout_of_folder,
    layouts,
)
from gravis_triton.data.datasets.records import TOLERATED, Collection, Record
from gravis_triton.data.datasets.references import HDF5Image, ImageFile, MaskFile, hdf5_keys
from gravis_triton.errors import UserError

Value = TypeVar("Value")

# An image in two splits belongs to the later of these: test images must not be trained on.
_SPLIT_ORDER = ("", "train", "validation", "test")

# Removed from the archive of HAM10000's test images and from scoring, but still in the label files.
_WITHDRAWN = "ISIC_0035068"

# In the image folders of 2017, each image has an image of its superpixels beside it.
SUPERPIXELS = "_superpixels"
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
    return any((directory / name).is_file() and key in header_of(directory / name) for name, key in part.tables)


def _check_labels_alone(directory: Path) -> None:
    """Raise UserError for official labels without image folders: they would silently go unused."""
    for layout in layouts():
        for part in layout.parts:
            for name in [name for one in part.labels for name in one.files if name not in _COMMON_FILES]:
                if (directory / name).is_file():
                    raise UserError(
                        f"{directory} holds the labels {name} of {layout.name} but not their images: "
                        f"expected the folder {' or '.join(part.folders)} beside them"
                    )


_COMMON_FILES = frozenset({"train.csv", "train-metadata.csv"})  # other data sets have files of these names


def _read(layout: Layout, root: Path, *, only: str | None, modality: str | None) -> Collection:
    records: dict[str, Record] = {}
    notes: list[str] = []
    modality = layout.choose_modality(modality)
    for part in layout.parts:
        read, told = _read_part(part, root, layout.classes, only, modality)
        notes += told
        for record in read:
            known = records.get(record.id)
            records[record.id] = record if known is None else _merged(known, record)
    if not records:
        where = root if only is None else root / only
        raise UserError(f"{where}: no images of {layout.name} in it; expected JPEG files in {_expected(layout)}")
    ordered = sorted(records.values(), key=lambda record: (_SPLIT_ORDER.index(record.split or ""), record.id))
    notes = list(dict.fromkeys([f"read as {layout.name} ({layout.license})", *notes, *_unread(layout, root)]))
    if all(record.label is None for record in ordered):
        return Collection(layout.name, tuple(ordered), notes=tuple(notes))
    return Collection(layout.name, tuple(ordered), layout.classes, layout.scored_classes, tuple(notes))


def _unread(layout: Layout, root: Path) -> list[str]:
    """A line about tables that are not the dataset's."""
    own = {name for part in layout.parts for name, _ in part.tables}
    names = sorted(path.name for path in root.iterdir() if path.suffix.lower() in TABLE_SUFFIXES)
    unread = [name for name in names if name not in own]
    return [f"tables that are not read: {', '.join(unread)}"] if unread else []


def _expected(layout: Layout) -> str:
    return ", ".join(folder for folder in _folders(layout) if folder not in PLAIN_NAMES)


def _merged(first: Record, second: Record) -> Record:
    return replace(
        first,
        label=second.label if first.label is None else first.label,
        group=second.group if first.group is None else first.group,
        mask=second.mask if first.mask is None else first.mask,
        split=max(first.split or "", second.split or "", key=_SPLIT_ORDER.index) or None,
    )


def _read_part(
    part: Part, root: Path, classes: Sequence[str], only: str | None, modality: str | None
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
    read, told = _of_modality(files, part, root, modality)
    lesions = {image: file.parent.name for image, file in read.items()} if part.lesion_folders else {}
    labels, file, more = _labels(part, root, classes)
    is_whole = only is None or len(part.folders) == 1
    if labels and is_whole:
        known = {*files, *map(_base, files), *(file.parent.name for file in files.values())}
        more += _without_image(labels, known, file, folders)
    groups, most = _groups(part, root, list(read), lesions)
    masks = _masks([root / name for name in part.masks], part.masks_inside)

    def record(image: str, file: Path, group: str | None) -> Record:
        mask = masks.get(_base(image))
        label = _look_up(labels, image)
        return Record(
            image,
            ImageFile(str(file)) if folders else HDF5Image(str(file), image),
            labels.get(lesions.get(image, "")) if label is None else label,
            group,
            part.split,
            None if mask is None else MaskFile(str(mask), str(file)),
        )

    records = [record(image, file, group) for (image, file), group in zip(read.items(), groups, strict=True)]
    return records, [*notes, *told, *more, *most]


def _labels(part: Part, root: Path, classes: Sequence[str]) -> tuple[dict[str, int], Path | None, list[str]]:
    """(image or lesion id -> label, their file, lines for the user)."""
    for one in part.labels:
        if file := _first_file(root, one.files):
            labels = read_label_file(file, one, classes)
            labels.pop(_WITHDRAWN, None)
            columns = one.columns[0] if len(one.columns) == 1 else "0/1 columns"
            return labels, file, [f"labels: {file.relative_to(root)}, {columns}"] if labels else []
    return {}, None, []


def _groups(
    part: Part, root: Path, images: Sequence[str], lesions: Mapping[str, str]
) -> tuple[list[str | None], list[str]]:
    """(group of each image, lines for the user)."""
    columns: dict[str, list[str]] = {"lesion_id": list(lesions.values())} if lesions else {}
    for one in part.groups:
        if file := _first_file(root, one.files):
            for column, values in read_columns(file, one).items():
                columns.setdefault(column, [_look_up(values, image) or "" for image in images])
    filled = {name: cells for name, cells in columns.items() if any(cells)}
    return read_groups(filled) if filled else ([None] * len(images), [])


def _first_file(root: Path, names: Sequence[str]) -> Path | None:
    return next((root / name for name in names if (root / name).is_file()), None)


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
    nested = [] if images else [path for path in folder.iterdir() if path.is_dir() and path.name[0] != "."]
    return _images(nested[0], inside) if len(nested) == 1 else images


def _masks(folders: list[Path], inside: str) -> dict[str, Path]:
    """Image id -> mask file; the suffix is written _segmentation or _Segmentation."""
    paths = [path for folder in folders if folder.is_dir() for path in _images(folder, inside)]
    endings = ("_segmentation", "_lesion")
    return {path.stem.rpartition("_")[0]: path for path in paths if path.stem.lower().endswith(endings)}


def _of_modality(
    files: dict[str, Path], part: Part, root: Path, modality: str | None
) -> tuple[dict[str, Path], list[str]]:
    """(the images of one modality, lines for the user)."""
    names = [name for one in part.modalities for name in one.files]
    file = _first_file(root, names)
    if file is None and modality:
        name = next(iter(names), "file")
        raise UserError(f"--modality {modality}: {root} has no {name} that tells clinical from dermoscopic images")
    if file is None:
        return files, []
    cells = dict(kind for column in read_columns(file, part.modalities[0]).values() for kind in column.items())
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


def _look_up(values: Mapping[str, Value], image_id: str) -> Value | None:
    return values.get(image_id, values.get(_base(image_id)))


def _without_image(labels: Mapping[str, int], known: set[str], file: Path | None, folders: Sequence[Path]) -> list[str]:
    """A line about labels without an image. Raises UserError for more than a few."""
    missing = [image_id for image_id in labels if image_id not in known and _base(image_id) not in known]
    if not missing:
        return []
    text = (
        f"{len(missing)} of {len(labels)} labels in {file} have no image in "
        f"{', '.join(map(str, folders))}, e.g. {', '.join(missing[:3])}"
    )
    if len(missing) > TOLERATED * len(labels):
        raise UserError(text)
    return [f"left out: {text}"]
