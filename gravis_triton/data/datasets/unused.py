"""Image files below a dataset's directory that are not part of it."""

from pathlib import Path

from gravis_triton.data.datasets.folder import is_image, walk
from gravis_triton.data.datasets.records import Collection
from gravis_triton.data.datasets.references import ImageFile, MaskFile

_NOT_READ = frozenset(
    {".arw", ".avif", ".cr2", ".dcm", ".dng", ".heic", ".heif", ".jp2", ".nef", ".ppm", ".psd", ".svs", ".tga"}
)  # fmt: skip


def unused_files(collection: Collection, directory: Path) -> list[str]:
    """Image files below `directory`, relative to it and sorted, that are neither an image nor a mask of the collection:
    superpixels, masks whose image is missing, formats that are not read, other images."""
    used = {
        reference.path.resolve()
        for record in collection.records
        for reference in (record.image, record.mask)
        if isinstance(reference, ImageFile | MaskFile)
    }
    if not used:  # a collection that is not read from files
        return []
    found = (folder / name for folder, _, names in walk(directory) for name in filter(_is_any_image, names))
    return sorted(str(file.relative_to(directory)) for file in found if file.resolve() not in used)


def _is_any_image(name: str) -> bool:
    return is_image(name) or (not name.startswith(".") and Path(name).suffix.lower() in _NOT_READ)
