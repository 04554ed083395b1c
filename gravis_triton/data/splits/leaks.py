"""Leakage: images that are in two parts of a split, or that the encoder was pre-trained on."""

import math
import re
from collections import defaultdict
from collections.abc import Collection as SetOf
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from posixpath import basename, splitext
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gravis_triton.data.cache.images import CachedImages, Images, Pixels
from gravis_triton.data.datasets.records import Collection
from gravis_triton.data.splits.split import Split

# In ISIC 2017 all 8 pairs above this show one lesion, photographed or processed twice; the highest value for two
# lesions is 0.932, for some that share a dark rim.
_ALIKE = 0.95
_THUMBNAIL = 16
_ROWS = 1024  # compared at once
_FEW = 20_000  # images up to which all pairs are compared
_COMPONENTS = 64
_SAMPLES, _PROBES = 40, 8  # vectors per cluster that clusters are found from, clusters searched per image

# ISIC images keep their number in every dataset, folder and size.
_ISIC_ID = re.compile(r"ISIC_\d+")

# Parts that must not share images.
_APART = (("test", "train"), ("test", "validation"), ("validation", "train"))


class Pair(NamedTuple):
    """Two images of a collection, and the parts of the split that they are in."""

    image_id: str
    part: str
    other_id: str
    other_part: str

    def __str__(self) -> str:
        return f"{self.image_id} ({self.part}) and {self.other_id} ({self.other_part})"


@dataclass(frozen=True, slots=True)
class Leaks:
    """renamed: the same image in two parts, such as ISIC_0012086 and ISIC_0012086_downsampled.
    alike: images in two parts that look the same but have unrelated ids.
    pretrained: ids of test images that the encoder was pre-trained on.
    tested: number of test images.
    """

    renamed: tuple[Pair, ...]
    alike: tuple[Pair, ...]
    pretrained: tuple[str, ...]
    tested: int


def find_leaks(collection: Collection, split: Split, *, images: Images, seen: SetOf[str]) -> Leaks:
    """Find images shared by the parts of `split`, and by the test part and the pre-training images.

    images: those of the collection's records, (height, width, 3) uint8.
    seen: ids of the images that the encoder was pre-trained on.
    Images are alike if the correlation of the differences between neighboring pixels of their 16 x 16 gray
    thumbnails is above 0.95: this finds images that were resized, compressed or recolored, and few that were cropped.
    """
    renamed = tuple(_renamed(collection, split))
    known = {frozenset((pair.image_id, pair.other_id)) for pair in renamed}
    alike = (pair for pair in _alike(collection, split, images) if frozenset((pair[0], pair[2])) not in known)
    tested = [collection.records[index].id for index in split.test]
    pretrained = tuple(_pretrained(tested, seen))
    return Leaks(renamed, tuple(alike), pretrained, len(tested))


def describe_leaks(leaks: Leaks) -> list[str]:
    """One warning for each kind of leakage, with counts and examples; empty without leakage."""
    lines = []
    if leaks.renamed:
        lines.append(f"the same image is in two parts {_count(leaks.renamed)}")
    if leaks.alike:
        lines.append(f"images in two parts look the same {_count(leaks.alike)}")
    if leaks.pretrained:
        by_isic = all(_ISIC_ID.fullmatch(_identity(image_id)) for image_id in leaks.pretrained)
        lines.append(
            f"the encoder was pre-trained on {len(leaks.pretrained):,} of the {leaks.tested:,} test images, "
            f"e.g. {', '.join(leaks.pretrained[:3])}{'' if by_isic else ' (by file name)'}: scores will be too high"
        )
    return [f"warning: leakage: {line}" for line in lines]


def alike_pairs(images: Images) -> NDArray[np.int64]:
    """(pairs, 2) indices of all pairs of images that look the same by the rule of `find_leaks`, ascending.

    Among more than 20,000 images faiss, where installed, compares each with those of the most similar clusters: of two
    pairs in 10,000 it misses one at most. Pairs of cached images are kept in the cache.
    """
    if isinstance(images, CachedImages):
        return images.derived(f"alike-{_ALIKE}-{_THUMBNAIL}", lambda: _find_pairs(images))
    return _find_pairs(images)


def _find_pairs(images: Images) -> NDArray[np.int64]:
    vectors = _structures(images)
    is_large = len(vectors) > _FEW and find_spec("faiss") is not None
    return _pairs_in_clusters(vectors) if is_large else _compared_pairs(vectors)


def _compared_pairs(vectors: NDArray[np.float32]) -> NDArray[np.int64]:
    blocks = [
        np.argwhere(np.triu(vectors[start : start + _ROWS] @ vectors[start:].T, 1) > _ALIKE) + start
        for start in range(0, len(vectors), _ROWS)
    ]
    return np.concatenate([np.empty((0, 2), np.int64), *blocks])


def _pairs_in_clusters(vectors: NDArray[np.float32]) -> NDArray[np.int64]:
    """Correlations are bounded by those of the principal components and the lengths of the rest; only pairs whose bound
    is high enough are compared in full."""
    import faiss

    sample = vectors[:: len(vectors) // _FEW]
    _, components = np.linalg.eigh(sample.T @ sample)
    main = vectors @ components[:, -_COMPONENTS:]
    rest = np.sqrt(np.maximum((vectors**2).sum(1) - (main**2).sum(1), 0))
    bounding = np.column_stack([main, rest])
    clusters = 2 * math.isqrt(len(vectors))
    index: Any = faiss.index_factory(_COMPONENTS + 1, f"IVF{clusters},Flat", faiss.METRIC_INNER_PRODUCT)
    index.cp.niter = 10
    index.train(bounding[:: max(1, len(vectors) // (_SAMPLES * clusters))])
    index.add(bounding)
    index.nprobe = _PROBES
    limits, _, others = index.range_search(bounding, _ALIKE)
    pairs = np.column_stack([np.repeat(np.arange(len(vectors)), np.diff(limits.view(np.int64))), others])
    pairs = pairs[pairs[:, 0] < pairs[:, 1]]
    blocks = [pairs[start : start + _ROWS] for start in range(0, len(pairs), _ROWS)]
    alike = [(vectors[block[:, 0]] * vectors[block[:, 1]]).sum(1) > _ALIKE for block in blocks]
    pairs = pairs[np.concatenate([np.empty(0, bool), *alike])]
    return pairs[np.lexsort(pairs.T[::-1])]


def _count(pairs: Sequence[Pair]) -> str:
    times = "once" if len(pairs) == 1 else f"{len(pairs):,} times"
    return f"{times}, e.g. {'; '.join(map(str, pairs[:3]))}"


def _identity(image_id: str) -> str:
    """What an image's ids in different datasets have in common."""
    stem = splitext(basename(image_id))[0].removesuffix("_downsampled")
    return stem if _ISIC_ID.fullmatch(stem) else image_id


def _pretrained(tested: Sequence[str], seen: SetOf[str]) -> Iterator[str]:
    """The ids in `tested` of images in `seen`. Other ids than ISIC's are paths below --data, which may have been
    another folder then: one may be the end of the other."""
    identities = {_identity(image_id) for image_id in seen}
    ends = {end for identity in identities for end in _ends(identity)}
    for image_id in tested:
        identity = _identity(image_id)
        if identity in ends or not identities.isdisjoint(_ends(identity)):
            yield image_id


def _ends(path: str) -> Iterator[str]:
    """The path, and the path without its first folder, first two folders and so on."""
    parts = path.split("/")
    return ("/".join(parts[start:]) for start in range(len(parts)))


def _renamed(collection: Collection, split: Split) -> Iterator[Pair]:
    parts, ids = split.parts(), [record.id for record in collection.records]
    for part, other_part in _APART:
        others: dict[str, list[str]] = defaultdict(list)
        for index in parts[other_part]:
            others[_identity(ids[index])].append(ids[index])
        for index in parts[part]:
            for other in others.get(_identity(ids[index]), ()):
                yield Pair(ids[index], part, other, other_part)


def _alike(collection: Collection, split: Split, images: Images) -> Iterator[Pair]:
    parts = {index: part for part, indices in split.parts().items() for index in indices}
    ids = [record.id for record in collection.records]
    pairs = [pair for first, second in alike_pairs(images).tolist() for pair in ((first, second), (second, first))]
    for part, other_part in _APART:
        for first, second in pairs:
            if parts.get(first) == part and parts.get(second) == other_part:
                yield Pair(ids[first], part, ids[second], other_part)


def _structures(images: Images) -> NDArray[np.float32]:
    """(images, differences): for each image the differences between neighboring pixels of a small gray version, as a
    unit vector; 0 for a uniform image."""

    def compute(start: int) -> None:
        block = range(start, min(start + _ROWS, len(images)))
        gray = np.stack([gray_thumbnail(images[index]) for index in block]).astype(np.float32)
        steps = np.concatenate([np.diff(gray, axis=axis).reshape(len(gray), -1) for axis in (1, 2)], axis=1)
        vectors[start : block.stop] = steps / np.maximum(np.linalg.norm(steps, axis=1, keepdims=True), 1)

    vectors = np.empty((len(images), 2 * _THUMBNAIL * (_THUMBNAIL - 1)), np.float32)
    with ThreadPoolExecutor() as pool:
        list(pool.map(compute, range(0, len(images), _ROWS)))  # raises what a block raises
    return vectors


def gray_thumbnail(image: Pixels) -> NDArray[np.uint8]:
    """The (16, 16) thumbnail that `alike_pairs` compares; a thumbnail's thumbnail is itself."""
    size = (_THUMBNAIL, _THUMBNAIL)
    return np.asarray(Image.fromarray(image).convert("L").resize(size, Image.Resampling.BOX))
