"""Filling the cache: progress, interrupts, several processes, workers."""

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from cached_images import Failing, cache_files, gradients

from gravis_triton.data.cache import store
from gravis_triton.data.cache.images import CachedImages, Progress, cached_images
from gravis_triton.data.datasets.records import Record
from gravis_triton.data.datasets.references import ImageFile
from gravis_triton.errors import UserError


def test_progress_counts_records_up_to_all(build: Callable[..., CachedImages]) -> None:
    calls: list[tuple[int, int]] = []
    build(gradients(70, []), progress=lambda done, total: calls.append((done, total)))
    assert list(dict.fromkeys(calls)) == [(0, 70), (32, 70), (64, 70), (70, 70)]
    calls.clear()
    build(gradients(70, []), progress=lambda done, total: calls.append((done, total)))
    assert calls == [(70, 70)]


def test_an_interrupted_build_goes_on_where_it_stopped(build: Callable[..., CachedImages], tmp_path: Path) -> None:
    decoded: list[int] = []

    def interrupt(done: int, total: int) -> None:
        if done == 64:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(gradients(100, decoded), progress=interrupt)
    assert len(decoded) == 64
    assert len(build(gradients(100, decoded))) == 100
    assert len(decoded) == 100


def test_an_interrupt_within_a_shard_leaves_no_part_of_it(build: Callable[..., CachedImages], tmp_path: Path) -> None:
    records = [*gradients(20, []), Record("interrupted", Failing(KeyboardInterrupt()))]  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        build(records)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [".lock"]


def test_of_several_processes_one_decodes_and_the_others_wait_for_it(tmp_path: Path) -> None:
    decoded: list[int] = []
    records = gradients(100, decoded)

    def build(number: int) -> list[bytes]:
        return [image.tobytes() for image in cached_images(records, short_side=8, directory=tmp_path, workers=0)]

    with ThreadPoolExecutor(3) as pool:
        one, *others = pool.map(build, range(3))
    assert all(other == one for other in others)
    assert len(decoded) == 100


def test_worker_processes_give_the_same_images(tmp_path: Path, images) -> None:
    images(tmp_path / "images", [f"{index:03d}.jpg" for index in range(100)])
    records = [Record(p.name, ImageFile(p)) for p in sorted((tmp_path / "images").iterdir())]
    alone = cached_images(records, short_side=4, directory=tmp_path / "a", workers=0)
    together = cached_images(records, short_side=4, directory=tmp_path / "b", workers=2)
    assert together.records == alone.records == tuple(records)
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))
    assert len(cache_files(tmp_path / "a")) == len(cache_files(tmp_path / "b")) == 4


def store_items(folder: Path, *pixels: Callable[[], object], progress: Progress = lambda *done: None) -> None:
    """Store 32 items for each of these functions, so that each is a file of its own, on two workers."""
    items = [store.Item(b"%d" % i, f"image {i}", pixels[i // 32]) for i in range(32 * len(pixels))]
    store.open_stored(folder, items, (3,), workers=2, progress=progress, check=lambda errors: None)


def children() -> set[str]:
    file = Path(f"/proc/self/task/{threading.get_native_id()}/children")
    return set(file.read_text().split()) if file.exists() else set()


def test_a_killed_worker_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a worker process was killed, perhaps out of memory: use fewer workers"):
        store_items(tmp_path, partial(os._exit, 9), partial(os._exit, 9))


def test_what_a_worker_raises_is_raised_here(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"reading .* failed"):
        store_items(tmp_path, *[partial(os.listdir, "/proc/1/map_files")] * 2)


def test_an_interrupt_ends_the_workers_at_once(tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    before, started = children(), time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        store_items(
            tmp_path,
            partial(np.zeros, (1, 1, 3), np.uint8),
            *[partial(time.sleep, 60)] * 3,
            progress=interrupt,
        )
    assert time.perf_counter() - started < 30
    assert children() <= before
    assert not list(tmp_path.glob("*.tmp"))
