"""`gravis cache`: what is listed, and what is deleted."""

import os
import time
from pathlib import Path

import numpy as np
import pytest

from gravis_triton.data import cached_images, open_collection
from gravis_triton.settings.jobs import CacheSettings
from gravis_triton.workflows.cache import list_cache


def test_only_files_that_no_collection_uses_are_deleted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = open_collection("synthetic", synthetic_images=40).records
    for short_side in (16, 24):
        images = cached_images(records, short_side=short_side, directory=tmp_path, workers=0)
        images.derived("sum", lambda: np.zeros(3))
    for file in tmp_path.glob("*/*.files"):
        then = time.time() - 40 * 86_400
        os.utime(file, (then, then))
    images = cached_images(records[:32], short_side=16, directory=tmp_path, workers=0)
    images.derived("sum", lambda: np.ones(3))

    listed = list_cache(CacheSettings(cache_dir=str(tmp_path)))  # files of 32 images and of 8, and those of sums
    assert [(each.name, each.files, round(each.days or 0)) for each in listed.folders] == [
        ("images-16", 4, 0),
        ("images-24", 3, 40),
    ]
    pruned = list_cache(CacheSettings(cache_dir=str(tmp_path), prune=30))
    assert [(each.name, each.files, each.days is None) for each in pruned.folders] == [
        ("images-16", 2, False),
        ("images-24", 0, True),
    ]
    assert pruned.freed > 32 * 24 * 24 * 3
    assert images[31].shape == (16, 16, 3)
    assert images.derived("sum", lambda: np.zeros(3)).tolist() == [1, 1, 1]
    assert "images-24: 0 files, 0.0 GB, not used" in capsys.readouterr().out
    assert len(cached_images(records, short_side=24, directory=tmp_path, workers=0)) == 40


def test_an_empty_cache_has_no_folders(tmp_path: Path) -> None:
    assert list_cache(CacheSettings(cache_dir=str(tmp_path), prune=0)).folders == ()
