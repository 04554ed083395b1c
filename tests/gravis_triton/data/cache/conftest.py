"""A cache in a folder of its own."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from gravis_triton.data.cache.images import CachedImages, cached_images
from gravis_triton.data.datasets.records import Record


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., CachedImages]:
    def in_process(records: Sequence[Record], short_side: int = 8, **options: object) -> CachedImages:
        return cached_images(records, short_side=short_side, directory=tmp_path, workers=0, **options)  # type: ignore[arg-type]

    return in_process
