"""Files of the cache: what they hold, damage, full disks."""

import errno
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import datasets
import numpy as np
import pytest
from cached_images import Failing, cache_files, gradients

from gravis_triton.data.cache import store
from gravis_triton.data.cache.images import CachedImages, cached_images
from gravis_triton.data.datasets.records import Record
from gravis_triton.errors import UserError


def test_rows_are_read_only_views_of_the_mapped_file(build: Callable[..., CachedImages]) -> None:
    images = build(gradients(3, []))
    assert not images[1].flags.writeable
    assert not images[1].flags.owndata
    assert np.shares_memory(images[1], images[1])


def test_pickled_images_open_the_same_files_again(build: Callable[..., CachedImages]) -> None:
    images = build([*gradients(300, []), Record("bad", Failing(ValueError("damaged")))])
    pickled = pickle.dumps(images)
    again = pickle.loads(pickled)
    assert len(pickled) < 300 * 300
    assert again.skipped == images.skipped == (("bad", "damaged"),)
    assert again.records == images.records
    assert all(np.array_equal(a, b) for a, b in zip(images, again, strict=True))


def test_files_are_hugging_face_datasets(build: Callable[..., CachedImages], tmp_path: Path) -> None:
    images = build(gradients(3, []))
    data = datasets.Dataset.from_file(str(cache_files(tmp_path)[0]))
    assert data.column_names == ["key", "height", "width", "pixels", "error"]
    assert data["pixels"][:] == [image.tobytes() for image in images]


def test_many_images_are_kept_in_few_files(build: Callable[..., CachedImages], tmp_path: Path) -> None:
    images = build(gradients(9000, [], width=2, height=1), short_side=1)
    assert len(images) == 9000
    assert 250 <= len(cache_files(tmp_path)) <= 280


@pytest.mark.parametrize("damage", [b"", b"no arrow file", "cut", "other rows"])
def test_a_damaged_file_is_built_anew(build: Callable[..., CachedImages], tmp_path: Path, damage: bytes | str) -> None:
    decoded: list[int] = []
    expected = build(gradients(40, decoded))[39].copy()
    contents = [file.read_bytes() for file in cache_files(tmp_path)]
    for file, content, other in zip(cache_files(tmp_path), contents, reversed(contents), strict=True):
        file.write_bytes({"cut": content[:-2000], "other rows": other}.get(damage, damage))
    assert np.array_equal(build(gradients(40, decoded))[39], expected)
    assert len(decoded) == 80


@pytest.mark.parametrize("place", [0.001, 0.3, 0.7, 0.999])
def test_a_flipped_bit_anywhere_in_the_cache_is_found_when_it_is_opened(
    build: Callable[..., CachedImages], tmp_path: Path, place: float
) -> None:
    decoded: list[int] = []
    expected = build(gradients(40, decoded))[3].copy()
    file = cache_files(tmp_path)[0]
    content = bytearray(file.read_bytes())
    content[int(place * len(content))] ^= 16
    file.write_bytes(content)
    assert np.array_equal(build(gradients(40, decoded))[3], expected)
    assert len(decoded) > 40


def test_a_files_content_is_checked_once_after_each_change(
    build: Callable[..., CachedImages], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(gradients(100, []))
    checked: list[int] = []
    crc32 = store.zlib.crc32
    monkeypatch.setattr(store.zlib, "crc32", lambda content: checked.append(1) or crc32(content))
    build(gradients(100, []))
    assert not checked
    os.utime(cache_files(tmp_path)[0], ns=(0, 0))
    decoded: list[int] = []
    for _ in range(3):
        build(gradients(100, decoded))
    assert (len(checked), len(decoded)) == (1, 0)


def test_a_cache_that_is_cut_off_while_it_is_in_use_is_an_error_and_not_a_crash(
    build: Callable[..., CachedImages], tmp_path: Path
) -> None:
    images = build(gradients(40, []))
    for file in cache_files(tmp_path):
        os.truncate(file, 100)
    with pytest.raises(UserError, match="was truncated while in use: run again"):
        images[0]


def test_a_full_disk_is_reported_and_leaves_nothing_half_written(
    build: Callable[..., CachedImages], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(store.os, "fsync", full)
        with pytest.raises(UserError, match=r"cannot use .* for the image cache .*No space left.*: free some space"):
            build(gradients(3, []))
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [".lock"]
    assert len(build(gradients(3, []))) == 3


def test_a_cache_directory_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot use .*file/cache.* for the image cache .*set GRAVIS_CACHE"):
        cached_images(gradients(1, []), short_side=8, directory=tmp_path / "file" / "cache", workers=0)


def test_what_killed_runs_left_is_removed(build: Callable[..., CachedImages], tmp_path: Path) -> None:
    build(gradients(1, []))
    abandoned = tmp_path / "images-8" / "abc.tmp"
    abandoned.write_bytes(b"part")
    build(gradients(2, []))
    assert not abandoned.exists()
