"""Masks in the decode-once cache: they lie on their images pixel by pixel, or are refused with their names."""

import pickle
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gravis_triton.data.cache.images import cached_images, cached_masks
from gravis_triton.data.cache.pixels import check_fit
from gravis_triton.data.cache.store import StoredPixels
from gravis_triton.data.datasets.open import open_collection
from gravis_triton.data.datasets.records import Record
from gravis_triton.data.datasets.references import ImageFile, MaskFile
from gravis_triton.errors import UserError

Pair = Callable[..., Record]


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    """Writes an image and a mask whose upper left quarter is lesion, each of the size given as (width, height)."""

    def write(image_id: str, image: tuple[int, int] = (120, 80), mask: tuple[int, int] | None = None) -> Record:
        width, height = mask or image
        lesion = np.zeros((height, width), np.uint8)
        lesion[: height // 2, : width // 2] = 255
        Image.new("RGB", image, (90, 60, 30)).save(tmp_path / f"{image_id}.png")
        Image.fromarray(lesion).save(tmp_path / f"{image_id}_mask.png")
        image = tmp_path / f"{image_id}.png"
        return Record(image_id, ImageFile(image), mask=MaskFile(tmp_path / f"{image_id}_mask.png", image))

    return write


def masks_of(records: Sequence[Record], directory: Path, short_side: int = 16) -> StoredPixels:
    images = cached_images(records, short_side=short_side, directory=directory, workers=0)
    return cached_masks(images, directory=directory, workers=0)


def test_a_mask_has_its_images_height_and_width(pair: Pair, tmp_path: Path) -> None:
    records = [pair("wide"), pair("high", (80, 120)), pair("odd", (1022, 767)), pair("square", (50, 50))]
    images = cached_images(records, short_side=16, directory=tmp_path / "cache", workers=0)
    masks = cached_masks(images, directory=tmp_path / "cache", workers=0)
    for image, mask in zip(images, masks, strict=True):
        assert mask.shape == image.shape[:2]
        assert mask.dtype == np.uint8
        assert set(np.unique(mask)) == {0, 255}
    assert masks[0].shape == (16, 24)
    assert (masks[0][:8, :12] == 255).all()
    assert (masks[0] == 255).sum() == 8 * 12


@pytest.mark.parametrize("mask", [(60, 40), (240, 160), (1023, 683), (119, 80)])
def test_a_mask_of_the_images_aspect_ratio_fits_at_any_size(pair: Pair, tmp_path: Path, mask: tuple[int, int]) -> None:
    assert masks_of([pair("a", (120, 80), mask)], tmp_path / "cache")[0].shape == (16, 24)


@pytest.mark.parametrize("short_side", [8, 33, 224])
@pytest.mark.parametrize(
    ("image", "mask", "fits"),
    [
        ((1000, 750), (500, 376), True),
        ((1000, 750), (1001, 750), True),
        ((1000, 750), (998, 750), False),
        ((1000, 750), (100, 73), False),
        ((767, 1022), (768, 1022), True),
    ],
)
def test_a_mask_fits_by_native_sizes_whatever_the_size_of_the_cache(
    pair: Pair,
    tmp_path: Path,
    image: tuple[int, int],
    mask: tuple[int, int],
    fits: bool,
    short_side: int,
) -> None:
    record = pair("a", image, mask)
    refused = nullcontext() if fits else pytest.raises(UserError, match="differ in aspect ratio")
    with refused:
        masks_of([record], tmp_path / "cache", short_side)
    with nullcontext() if fits else pytest.raises(ValueError, match="differ in aspect ratio"):
        check_fit(mask, image)


def test_masks_of_another_shape_are_named_with_both_sizes(pair: Pair, tmp_path: Path) -> None:
    records = [pair("good"), pair("turned", (120, 80), (80, 120)), pair("cut", (120, 80), (100, 80))]
    expected = (
        r"2 of 3 masks cannot be used: turned: mask \(80 x 120\) and image \(120 x 80\) differ in aspect ratio; "
        r"cut: mask \(100 x 80\) and image \(120 x 80\) differ in aspect ratio; fix these files"
    )
    for _ in range(2):  # decoded, then from the cache
        with pytest.raises(UserError, match=expected):
            masks_of(records, tmp_path / "cache")


def test_unreadable_masks_are_named_with_the_reason(pair: Pair, tmp_path: Path) -> None:
    records = [pair("good"), pair("torn"), pair("gone"), pair("ones")]
    torn, gone, ones = (tmp_path / f"{name}_mask.png" for name in ("torn", "gone", "ones"))
    torn.write_bytes(torn.read_bytes()[:60])
    gone.unlink()
    Image.new("L", (120, 80), 1).save(ones)
    with pytest.raises(UserError) as refusal:
        masks_of(records, tmp_path / "cache")
    text = str(refusal.value)
    assert text.startswith("3 of 4 masks cannot be used: torn: ")
    assert "; gone: " in text
    assert "No such file" in text
    assert "; ones: mask has the values 1: lesion must be 255" in text
    assert "\n" not in text


def test_a_mended_mask_is_read_again(pair: Pair, tmp_path: Path) -> None:
    records = [pair("a", (120, 80), (80, 80))]
    with pytest.raises(UserError, match="1 of 1 masks cannot be used"):
        masks_of(records, tmp_path / "cache")
    records = [pair("a")]
    assert masks_of(records, tmp_path / "cache")[0].shape == (16, 24)


def test_images_without_a_mask_keep_their_place(pair: Pair, tmp_path: Path) -> None:
    bare = Record("bare", pair("bare").image)
    masks = masks_of([pair("a"), bare, pair("b", (80, 120))], tmp_path / "cache")
    assert len(masks) == 3
    assert masks[2].shape == (24, 16)
    with pytest.raises(KeyError, match="image 1 has no mask"):
        masks[1]
    with pytest.raises(IndexError):
        masks[3]


def test_masks_are_decoded_once(pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = [pair(f"{index:02d}") for index in range(3)]
    first = [mask.copy() for mask in masks_of(records, tmp_path / "cache")]
    monkeypatch.setattr(MaskFile, "read", lambda *args: pytest.fail("read again"))
    again = masks_of(records, tmp_path / "cache")
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not again[0].flags.writeable


def test_each_short_side_has_masks_of_its_own(pair: Pair, tmp_path: Path) -> None:
    records = [pair("a")]
    assert [masks_of(records, tmp_path / "cache", side)[0].shape for side in (16, 8)] == [(16, 24), (8, 12)]


def test_pickled_masks_open_the_same_files_again(pair: Pair, tmp_path: Path) -> None:
    masks = masks_of([pair("a"), Record("bare", pair("bare").image), pair("b")], tmp_path / "cache")
    again = pickle.loads(pickle.dumps(masks))
    assert len(again) == 3
    assert np.array_equal(again[2], masks[2])


def test_several_processes_give_the_same_masks(pair: Pair, tmp_path: Path) -> None:
    records = [pair(f"{index:02d}", (120, 80 + index)) for index in range(40)]
    images = cached_images(records, short_side=16, directory=tmp_path / "images", workers=0)
    alone = cached_masks(images, directory=tmp_path / "a", workers=0)
    together = cached_masks(images, directory=tmp_path / "b", workers=2)
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))


def test_progress_counts_masks(pair: Pair, tmp_path: Path) -> None:
    images = cached_images([pair("a"), pair("b")], short_side=8, directory=tmp_path / "cache", workers=0)
    calls: list[tuple[int, int]] = []
    cached_masks(images, directory=tmp_path / "cache", workers=0, progress=lambda *call: calls.append(call))
    assert list(dict.fromkeys(calls)) == [(0, 2), (2, 2)]


def test_synthetic_masks_lie_on_their_pictures(tmp_path: Path) -> None:
    records = open_collection("synthetic", synthetic_images=3).records
    masks = masks_of(records, tmp_path, short_side=32)
    for record, mask in zip(records, masks, strict=True):
        assert record.mask is not None
        assert np.array_equal(mask, np.asarray(record.mask.read(32)))
