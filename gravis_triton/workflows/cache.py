"""List and prune the cache of decoded images."""

import time
from dataclasses import dataclass

from gravis_triton.data.cache.images import cache_directory
from gravis_triton.data.cache.store import prune
from gravis_triton.files import free_space
from gravis_triton.settings.jobs import CacheSettings


@dataclass(frozen=True, slots=True)
class CachedFolder:
    """Images of one size, or masks. size: of its files in bytes. days: since a collection in it was last opened; None
    if unknown."""

    name: str
    files: int
    size: int
    days: float | None


@dataclass(frozen=True, slots=True)
class CacheResult:
    """folders: what remains. freed: bytes of the deleted files."""

    folders: tuple[CachedFolder, ...]
    freed: int


def list_cache(settings: CacheSettings) -> CacheResult:
    """Print the folders of the cache, after deleting what has not been used for `prune` days.

    A file holds up to 256 images: it stays while a collection that was opened since then has one of them. Raises
    UserError if a job is filling a folder, or a file cannot be deleted.
    """
    directory = cache_directory(settings.cache_dir)
    folders, freed = [], 0
    for folder in sorted(path.parent for path in directory.glob("*/intact.txt")):
        if settings.prune is not None:
            freed += prune(folder, settings.prune)
        sizes = [file.stat().st_size for pattern in ("*.arrow", "*.npy") for file in folder.glob(pattern)]
        used = max((file.stat().st_mtime for file in folder.glob("*.files")), default=None)
        days = None if used is None else (time.time() - used) / 86_400
        folders.append(CachedFolder(folder.name, len(sizes), sum(sizes), days))
    for cached in folders:
        when = "not used" if cached.days is None else f"used {cached.days:.0f} days ago"
        print(f"{cached.name}: {cached.files:,} files, {cached.size / 1e9:.1f} GB, {when}")
    print(f"{directory}: {sum(cached.size for cached in folders) / 1e9:.1f} GB; {free_space(directory)}")
    if settings.prune is not None:
        print(f"deleted: {freed / 1e9:.1f} GB")
    return CacheResult(tuple(folders), freed)
