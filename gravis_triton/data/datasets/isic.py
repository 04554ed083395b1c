"""ISIC 2016 to 2020 and HAM10000 in their official layouts, recognized by folder names."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from gravis_triton.data.datasets.folder import is_image
from gravis_triton.data.datasets.isic_layouts import LAYOUTS, PLAIN_NAMES, Layout, Part, layout_of_folder
from gravis_triton.data.datasets.records import Collection, Record
from gravis_triton.data.datasets.references import ImageFile, MaskFile
from gravis_triton.errors import UserError

Value = TypeVar("Value")

# An image in two splits belongs to the later of these: test images must not be trained on.
_SPLIT_ORDER = ("train", "validation", "test")

# Removed from the archive of HAM10000's test images and from scoring, but still in the label files.
_WITHDRAWN = "ISIC_0035068"

# In the image folders of 2017, each image has an image of its superpixels beside it.
SUPERPIXELS = "_superpixels"
_NO_PHOTOGRAPH = (SUPERPIXELS, "_segmentation")


def open_isic(directory: Path) -> Collection | None:
    """The dataset in `directory`, or None if it has none of the official layouts.

    directory: absolute; holds the official folders, or is one of them: then only its images are read, with
    their annotations from the dataset's files beside it.
    An image without a row of labels has label None. Raises UserError for labels without an image, malformed
    files, several datasets in one folder, and a folder of masks given as images.
    """
    own = _layout_around(directory)
    if own is not None:
        return _read(own, directory.parent, only=directory.name)
    inside = _recognized(directory)
    if len(inside) > 1:
        names = " and ".join(layout.name for layout in inside)
        raise UserError(
            f"{directory} holds {names}: put each in its own folder, or give one of the image folders"
        )
    if inside:
        return _read(inside[0], directory, only=None)
    _check_labels_alone(directory)
    return None


def _layout_around(directory: Path) -> Layout | None:
    """The dataset that has `directory` as one of its folders."""
    if directory.name not in PLAIN_NAMES:
        return layout_of_folder(directory.name)
    around = _recognized(directory.parent)
    return next((layout for layout in around if directory.name in _folders(layout)), None)


def _recognized(directory: Path) -> list[Layout]:
    return [layout for layout in LAYOUTS if any(_is_evidence(layout, directory, f) for f in _folders(layout))]


def _folders(layout: Layout) -> list[str]:
    return [folder for part in layout.parts for folder in part.folders]


def _is_evidence(layout: Layout, directory: Path, folder: str) -> bool:
    if not (directory / folder).is_dir():
        return False
    tables = [name for part in layout.parts for name in (*part.labels, *part.groups)]
    return folder not in PLAIN_NAMES or any((directory / name).is_file() for name in tables)


def _check_labels_alone(directory: Path) -> None:
    """Raise UserError for official labels without image folders: they would silently go unused."""
    for layout in LAYOUTS:
        for part in layout.parts:
            for name in part.labels:
                if (directory / name).is_file():
                    raise UserError(
                        f"{directory} holds the labels {name} of {layout.name} but not their images: "
                        f"expected the folder {' or '.join(part.folders)} beside them"
                    )


def _read(layout: Layout, root: Path, *, only: str | None) -> Collection:
    records: dict[str, Record] = {}
    for part in layout.parts:
        for record in _read_part(part, root, only):
            known = records.get(record.id)
            records[record.id] = record if known is None else _merged(known, record)
    if not records:
        where = root if only is None else root / only
        raise UserError(
            f"{where}: no images of {layout.name} in it; expected JPEG files in {_expected(layout)}"
        )
    ordered = sorted(records.values(), key=lambda record: (_SPLIT_ORDER.index(record.split or ""), record.id))
    if all(record.label is None for record in ordered):
        return Collection(layout.name, tuple(ordered))
    return Collection(layout.name, tuple(ordered), layout.classes, layout.scored_classes)


def _expected(layout: Layout) -> str:
    return ", ".join(folder for folder in _folders(layout) if folder not in PLAIN_NAMES)


def _merged(first: Record, second: Record) -> Record:
    return replace(
        first,
        label=second.label if first.label is None else first.label,
        group=second.group if first.group is None else first.group,
        mask=second.mask if first.mask is None else first.mask,
        split=max(first.split or "", second.split or "", key=_SPLIT_ORDER.index),
    )


def _read_part(part: Part, root: Path, only: str | None) -> Iterator[Record]:
    folders = [root / name for name in part.folders if only in (None, name) and (root / name).is_dir()]
    if not folders:
        return
    images = _images_by_id(folders)
    labels_file, groups_file = _first_file(root, part.labels), _first_file(root, part.groups)
    labels = part.read_labels(labels_file) if part.read_labels and labels_file else {}
    labels.pop(_WITHDRAWN, None)
    groups = part.read_groups(groups_file) if part.read_groups and groups_file else {}
    masks = _masks([root / name for name in part.masks])
    if labels_file and (only is None or len(part.folders) == 1):
        _check_labels_without_image(labels, images, labels_file, folders)
    for image_id, path in images.items():
        mask = masks.get(_base(image_id))
        yield Record(
            id=image_id,
            image=ImageFile(path),
            label=_look_up(labels, image_id),
            group=_look_up(groups, image_id),
            split=part.split,
            mask=None if mask is None else MaskFile(mask, path),
        )


def _first_file(root: Path, names: tuple[str, ...]) -> Path | None:
    return next((root / name for name in names if (root / name).is_file()), None)


def _images_by_id(folders: list[Path]) -> dict[str, Path]:
    """Image id -> file, sorted by id."""
    found: dict[str, Path] = {}
    for folder in folders:
        for path in _images(folder):
            if path.stem in found:
                raise UserError(f"two images have the id {path.stem}: {found[path.stem]} and {path}")
            if not path.stem.lower().endswith(_NO_PHOTOGRAPH):
                found[path.stem] = path
    return dict(sorted(found.items()))


def _images(folder: Path) -> list[Path]:
    """The image files of an official folder, which may be in a folder of the same name inside it."""
    images = [path for path in folder.iterdir() if is_image(path.name)]
    nested = folder / folder.name
    return _images(nested) if not images and nested.is_dir() else images


def _masks(folders: list[Path]) -> dict[str, Path]:
    """Image id -> mask file; the suffix is written _segmentation or _Segmentation."""
    paths = [path for folder in folders if folder.is_dir() for path in _images(folder)]
    suffix = "_segmentation"
    return {path.stem[: -len(suffix)]: path for path in paths if path.stem.lower().endswith(suffix)}


def _base(image_id: str) -> str:
    """The id without _downsampled, which ISIC 2019 appends for images it made smaller."""
    return image_id.removesuffix("_downsampled")


def _look_up(values: Mapping[str, Value], image_id: str) -> Value | None:
    return values.get(image_id, values.get(_base(image_id)))


def _check_labels_without_image(
    labels: Mapping[str, int], images: Mapping[str, Path], file: Path, folders: list[Path]
) -> None:
    bases = {_base(image_id) for image_id in images}
    missing = [image_id for image_id in labels if image_id not in images and _base(image_id) not in bases]
    if missing:
        raise UserError(
            f"{len(missing)} of {len(labels)} labels in {file} have no image in "
            f"{', '.join(map(str, folders))}, e.g. {', '.join(missing[:3])}"
        )
