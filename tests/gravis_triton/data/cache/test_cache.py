"""The decode-once cache: what it holds, when it decodes, and what it does when something goes wrong."""

import errno
import os
import pickle
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image

from gravis_triton.data.cache import store
from gravis_triton.data.cache.images import CachedImages, Progress, cache_directory, cached_images
from gravis_triton.data.datasets.records import Record
from gravis_triton.data.datasets.references import ImageFile
from gravis_triton.errors import UserError

FULL_DISK = Path("/dev/full")


@dataclass(frozen=True)
class Gradient:
    """A item that gets brighter from left to right; `decoded` counts how often it was read."""

    width: int
    height: int
    decoded: list[int]
    version: int = 0

    def read(self, short_side: int | None = None) -> Image.Image:
        self.decoded.append(self.version)
        row = np.linspace(0, 255, self.width).astype(np.uint8)
        return Image.fromarray(np.repeat(np.tile(row, (self.height, 1))[:, :, None], 3, axis=2))

    def fingerprint(self) -> str:
        return f"{self.width}x{self.height} version {self.version}"


@dataclass(frozen=True)
class Failing:
    error: Exception

    def read(self, short_side: int | None = None) -> Image.Image:
        raise self.error

    def fingerprint(self) -> str:
        return "failing"


def gradients(count: int, decoded: list[int], width: int = 24, height: int = 16) -> list[Record]:
    return [Record(f"image {index}", Gradient(width, height, decoded)) for index in range(count)]


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., CachedImages]:
    def in_process(records: Sequence[Record], short_side: int = 8, **options: object) -> CachedImages:
        return cached_images(records, short_side=short_side, directory=tmp_path, workers=0, **options)  # type: ignore[arg-type]

    return in_process


def shard_files(directory: Path) -> list[Path]:
    return sorted(directory.rglob("*.arrow"))


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [
        (1022, 767, (96, 128)),
        (767, 1022, (128, 96)),
        (50, 50, (96, 96)),
        (20, 40, (192, 96)),
        (1500, 100, (96, 1440)),
    ],
)
def test_short_side_is_exact_and_the_aspect_ratio_kept(
    build: Callable[..., CachedImages], width: int, height: int, expected: tuple[int, int]
) -> None:
    image = build([Record("a", Gradient(width, height, []))], short_side=96)[0]
    assert image.shape == (*expected, 3)
    assert image.dtype == np.uint8


def test_the_whole_field_of_view_is_kept(build: Callable[..., CachedImages]) -> None:
    image = build([Record("a", Gradient(200, 100, []))], short_side=20)[0]
    expected = np.linspace(0, 255, 200).reshape(40, 5).mean(axis=1)
    assert np.abs(image[10, 1:-1, 0] - expected[1:-1]).max() < 2


def test_resizing_does_not_alias(build: Callable[..., CachedImages], tmp_path: Path) -> None:
    stripes = np.zeros((128, 128, 3), np.uint8)
    stripes[:, ::2] = 255
    Image.fromarray(stripes).save(tmp_path / "stripes.png")
    image = build([Record("a", ImageFile(tmp_path / "stripes.png"))], short_side=16)[0]
    assert np.abs(image.astype(int) - 127).max() <= 2


def test_second_run_decodes_nothing(build: Callable[..., CachedImages]) -> None:
    decoded: list[int] = []
    first = [image.copy() for image in build(gradients(5, decoded))]
    second = build(gradients(5, decoded))
    assert len(decoded) == 5
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_another_short_side_has_its_own_images(build: Callable[..., CachedImages]) -> None:
    decoded: list[int] = []
    assert build(gradients(2, decoded), short_side=8)[0].shape == (8, 12, 3)
    assert build(gradients(2, decoded), short_side=4)[0].shape == (4, 6, 3)
    assert build(gradients(2, decoded), short_side=8)[1].shape == (8, 12, 3)
    assert len(decoded) == 4


def test_a_changed_image_alone_is_decoded_anew(build: Callable[..., CachedImages]) -> None:
    decoded: list[int] = []
    records = gradients(100, decoded)
    build(records)
    records[40] = Record("image 40", Gradient(30, 16, decoded, version=1))
    images = build(records)
    assert images[40].shape == (8, 15, 3)
    assert len(decoded) == 101


def test_a_collection_that_grows_shrinks_or_is_sorted_anew_decodes_only_what_is_new(
    build: Callable[..., CachedImages],
) -> None:
    decoded: list[int] = []
    records = [Record(f"{i}", Gradient(20 + i, 16, decoded)) for i in range(100)]
    build(records[:90])
    assert len(decoded) == 90
    images = build(records[::-1])
    assert len(decoded) == 100
    assert [image.shape[1] for image in images] == [round((119 - i) / 2) for i in range(100)]
    some = build(records[3:50:7])
    assert len(decoded) == 100
    assert all(np.array_equal(a, images[99 - i]) for a, i in zip(some, range(3, 50, 7), strict=True))


def test_changed_labels_leave_the_cache_as_it_is(build: Callable[..., CachedImages]) -> None:
    decoded: list[int] = []
    build(gradients(3, decoded))
    relabeled = [Record(r.id, r.image, label=2, group="g", split="train") for r in gradients(3, decoded)]
    images = build(relabeled)
    assert len(decoded) == 3
    assert [record.label for record in images.records] == [2, 2, 2]


def test_rows_are_read_only_views_of_the_mapped_file(build: Callable[..., CachedImages]) -> None:
    images = build(gradients(3, []))
    assert not images[1].flags.writeable
    assert not images[1].flags.owndata
    assert np.shares_memory(images[1], images[1])


def test_images_outside_of_the_range_raise(build: Callable[..., CachedImages]) -> None:
    images = build(gradients(3, []))
    assert len(images) == len(list(images)) == 3
    with pytest.raises(IndexError):
        images[3]


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
    data = datasets.Dataset.from_file(str(shard_files(tmp_path)[0]))
    assert data.column_names == ["key", "height", "width", "pixels", "error"]
    assert data["pixels"][:] == [image.tobytes() for image in images]


def test_worker_processes_give_the_same_images(tmp_path: Path, images) -> None:
    images(tmp_path / "images", [f"{index:03d}.jpg" for index in range(100)])
    records = [Record(p.name, ImageFile(p)) for p in sorted((tmp_path / "images").iterdir())]
    alone = cached_images(records, short_side=4, directory=tmp_path / "a", workers=0)
    together = cached_images(records, short_side=4, directory=tmp_path / "b", workers=2)
    assert together.records == alone.records == tuple(records)
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))
    assert len(shard_files(tmp_path / "a")) == len(shard_files(tmp_path / "b")) == 4


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


def test_many_images_are_kept_in_few_files(build: Callable[..., CachedImages], tmp_path: Path) -> None:
    images = build(gradients(9000, [], width=2, height=1), short_side=1)
    assert len(images) == 9000
    assert 250 <= len(shard_files(tmp_path)) <= 280


@pytest.mark.parametrize("damage", [b"", b"no arrow file", "cut", "other rows"])
def test_a_damaged_file_is_built_anew(build: Callable[..., CachedImages], tmp_path: Path, damage: bytes | str) -> None:
    decoded: list[int] = []
    expected = build(gradients(40, decoded))[39].copy()
    contents = [file.read_bytes() for file in shard_files(tmp_path)]
    for file, content, other in zip(shard_files(tmp_path), contents, reversed(contents), strict=True):
        file.write_bytes({"cut": content[:-2000], "other rows": other}.get(damage, damage))
    assert np.array_equal(build(gradients(40, decoded))[39], expected)
    assert len(decoded) == 80


@pytest.mark.parametrize("place", [0.001, 0.3, 0.7, 0.999])
def test_a_flipped_bit_anywhere_in_the_cache_is_found_when_it_is_opened(
    build: Callable[..., CachedImages], tmp_path: Path, place: float
) -> None:
    decoded: list[int] = []
    expected = build(gradients(40, decoded))[3].copy()
    file = shard_files(tmp_path)[0]
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
    os.utime(shard_files(tmp_path)[0], ns=(0, 0))
    decoded: list[int] = []
    for _ in range(3):
        build(gradients(100, decoded))
    assert (len(checked), len(decoded)) == (1, 0)


def test_a_cache_that_is_cut_off_while_it_is_in_use_is_an_error_and_not_a_crash(
    build: Callable[..., CachedImages], tmp_path: Path
) -> None:
    images = build(gradients(40, []))
    for file in shard_files(tmp_path):
        os.truncate(file, 100)
    with pytest.raises(UserError, match="was truncated while in use: run again"):
        images[0]


def test_unreadable_images_are_named_counted_and_skipped(build: Callable[..., CachedImages], tmp_path: Path) -> None:
    decoded: list[int] = []
    records = gradients(60, decoded)
    records[5] = Record("gone", ImageFile(tmp_path / "gone.jpg"))
    records[50] = Record("odd", Failing(ValueError("damaged")))
    for _ in range(2):
        images = build(records)
        assert [image_id for image_id, _ in images.skipped] == ["gone", "odd"]
        assert "No such file" in images.skipped[0][1]
        assert len(images) == 58
        assert images.records == tuple(record for record in records if record.id not in ("gone", "odd"))
        assert images[5].shape == (8, 12, 3)
    assert len(decoded) == 58


def test_an_image_that_can_be_read_again_is(build: Callable[..., CachedImages], tmp_path: Path, images) -> None:
    records = [*gradients(30, []), Record("late", ImageFile(tmp_path / "items" / "late.jpg"))]
    assert len(build(records)) == 30
    images(tmp_path / "items", ["late.jpg"])
    assert len(build(records)) == 31


def test_more_than_five_percent_unreadable_stops_with_names_and_reasons(
    build: Callable[..., CachedImages],
) -> None:
    damaged = [Record(f"bad {index}", Failing(ValueError("damaged"))) for index in range(6)]
    expected = r"at least 6 of 100 images cannot be read, more than 5%, e\.g\. bad 0: damaged; bad 1: damaged; bad 2"
    for _ in range(2):
        with pytest.raises(UserError, match=expected):
            build([*gradients(94, []), *damaged])


def test_five_percent_unreadable_is_tolerated(build: Callable[..., CachedImages]) -> None:
    damaged = [Record(f"bad {index}", Failing(OSError("cut off"))) for index in range(5)]
    images = build([*gradients(95, []), *damaged])
    assert (len(images), len(images.skipped)) == (95, 5)


def test_a_picture_longer_than_16_times_its_short_side_counts_as_unreadable(
    build: Callable[..., CachedImages],
) -> None:
    images = build([*gradients(30, []), Record("strip", Gradient(1700, 100, []))])
    assert images.skipped == (("strip", "1700 x 100 is longer than 16 times its short side"),)


@pytest.mark.parametrize(
    "error", [OSError(errno.EIO, "Input/output error"), OSError(errno.EACCES, "Permission denied")]
)
def test_what_a_disk_fails_to_read_or_forbids_is_not_taken_for_a_damaged_image(
    build: Callable[..., CachedImages], error: OSError
) -> None:
    failing = Record("a", Failing(error))
    with pytest.raises(UserError, match=rf"reading the image a failed .*{error.strerror}.* fix this"):
        build([*gradients(30, []), failing])


@pytest.mark.skipif(not FULL_DISK.exists(), reason="no /dev/full here")
def test_a_full_disk_is_reported_and_leaves_nothing_half_written(
    build: Callable[..., CachedImages], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(store, "open_for_writing", lambda file: FULL_DISK.open("wb"))
        with pytest.raises(UserError, match=r"disk full while writing the image cache in .*: free some space, or set"):
            build(gradients(3, []))
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [".lock"]
    assert len(build(gradients(3, []))) == 3


def test_a_cache_directory_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot use .*file/cache.* for the image cache .*set GRAVIS_CACHE"):
        cached_images(gradients(1, []), short_side=8, directory=tmp_path / "file" / "cache", workers=0)


def test_the_environment_names_the_cache_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("GRAVIS_CACHE", raising=False)
    assert cache_directory() == tmp_path / ".cache" / "gravis-triton"
    monkeypatch.setenv("GRAVIS_CACHE", str(tmp_path / "fast"))
    cached_images(gradients(1, []), short_side=8, workers=0)
    assert len(shard_files(tmp_path / "fast")) == 1


def test_no_records_are_no_images(build: Callable[..., CachedImages]) -> None:
    assert len(build([])) == 0


def test_what_killed_runs_left_is_removed(build: Callable[..., CachedImages], tmp_path: Path) -> None:
    build(gradients(1, []))
    abandoned = tmp_path / "images-8" / "abc.tmp"
    abandoned.write_bytes(b"part")
    build(gradients(2, []))
    assert not abandoned.exists()


# worker processes; what they compute must be importable there


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
