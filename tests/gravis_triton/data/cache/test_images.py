"""Cached images: their pixels, when they are decoded, and those that cannot be."""

import errno
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cached_images import Failing, Gradient, cache_files, gradients
from PIL import Image

from gravis_triton.data.cache.images import CachedImages, cache_directory, cached_images
from gravis_triton.data.datasets.records import Record
from gravis_triton.data.datasets.references import ImageFile
from gravis_triton.errors import UserError


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


def test_images_outside_of_the_range_raise(build: Callable[..., CachedImages]) -> None:
    images = build(gradients(3, []))
    assert len(images) == len(list(images)) == 3
    with pytest.raises(IndexError):
        images[3]


def test_no_records_are_no_images(build: Callable[..., CachedImages]) -> None:
    assert len(build([])) == 0


def test_the_environment_names_the_cache_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("GRAVIS_CACHE", raising=False)
    assert cache_directory() == tmp_path / ".cache" / "gravis-triton"
    monkeypatch.setenv("GRAVIS_CACHE", str(tmp_path / "fast"))
    cached_images(gradients(1, []), short_side=8, workers=0)
    assert len(cache_files(tmp_path / "fast")) == 1


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
