"""Lesion masks: what counts as lesion, how they become small, and how they lie on their images."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gravis_triton.data.cache.pixels import fitted_mask, is_suspect, lesion_pixels, native_mask, other_levels
from gravis_triton.data.datasets.decode import decode_mask
from gravis_triton.data.datasets.records import Record
from gravis_triton.data.datasets.references import ImageFile, MaskFile

ORIENTATION = 0x0112


def gray(*rows: list[int]) -> Image.Image:
    return Image.fromarray(np.array(rows, np.uint8))


def test_lesion_is_above_128() -> None:
    assert lesion_pixels(gray([0, 1, 127, 128, 129, 255])).tolist() == [[0, 0, 0, 0, 255, 255]]


@pytest.mark.parametrize(("background", "lesion"), [(0, 1), (0, 2), (0, 60), (0, 127), (1, 2), (60, 127), (100, 200)])
def test_two_values_are_background_and_lesion(background: int, lesion: int) -> None:
    assert lesion_pixels(gray([background, lesion, lesion])).tolist() == [[0, 255, 255]]
    assert other_levels(gray([background, lesion])) == f"{background} and {lesion}"
    assert other_levels(gray([0, 255])) == other_levels(gray([0, 3, 255])) == ""


def test_more_dark_values_are_refused() -> None:
    for row in ([0, 1, 2], [1, 1, 1], [0, 20, 127]):
        with pytest.raises(ValueError, match=r"mask has the values .*: lesion must be 255, all else 0"):
            lesion_pixels(gray(row))


def test_classes_of_a_mask_are_refused() -> None:
    with pytest.raises(ValueError, match="mask has the values 0, 127, 255"):
        lesion_pixels(gray(*[[0, 127, 255, 0]] * 256))


def test_a_small_lesion_of_128_beside_one_of_255_is_refused_and_a_soft_edge_is_not() -> None:
    mask = np.zeros((64, 64), np.uint8)
    mask[10:40, 10:40] = 255
    edge = mask.copy()
    edge[9, 10:40] = edge[40, 10:40] = 128
    assert lesion_pixels(Image.fromarray(edge)).sum() == mask.sum(dtype=np.int64)
    mask[50:60, 5:60] = 128
    with pytest.raises(ValueError, match="mask has the values 0, 128, 255"):
        lesion_pixels(Image.fromarray(mask))


@pytest.mark.parametrize("values", [(0, 120), (0, 128, 255)])
def test_values_of_a_mask_are_refused_also_in_a_jpeg(tmp_path: Path, values: tuple[int, ...]) -> None:
    drawn = np.repeat(np.repeat(np.array([values], np.uint8), 48, axis=0), 30, axis=1)
    Image.fromarray(drawn).save(tmp_path / "m.jpg")
    with pytest.raises(ValueError, match="mask has the values"):
        lesion_pixels(decode_mask(tmp_path / "m.jpg"))


def test_masks_without_or_with_nearly_only_lesion_and_inverted_ones_are_suspect() -> None:
    lesion = np.zeros((20, 20), np.uint8)
    assert is_suspect(lesion)
    lesion[5:15, 5:15] = 255
    assert not is_suspect(lesion)
    assert is_suspect(255 - lesion)
    assert is_suspect(np.full((20, 20), 255, np.uint8))


def test_a_palette_of_two_colors_is_background_and_lesion(tmp_path: Path) -> None:
    mask = Image.fromarray(np.array([[0, 1, 1]], np.uint8))
    mask.putpalette([0, 0, 0, 128, 0, 0])
    mask.save(tmp_path / "m.png")
    assert lesion_pixels(decode_mask(tmp_path / "m.png")).tolist() == [[0, 255, 255]]


def test_two_colors_are_background_and_lesion(tmp_path: Path) -> None:
    drawn = np.zeros((1, 3, 3), np.uint8)
    drawn[0, 1:] = (255, 0, 0)
    Image.fromarray(drawn).save(tmp_path / "m.png")
    assert lesion_pixels(decode_mask(tmp_path / "m.png")).tolist() == [[0, 255, 255]]


@pytest.mark.parametrize("mode", ["RGB", "P", "RGBA"])
def test_a_mask_in_color_is_refused_and_a_gray_one_in_any_mode_is_taken(tmp_path: Path, mode: str) -> None:
    red = Image.new("RGB", (4, 4), (255, 0, 0)).convert(mode)
    red.save(tmp_path / "red.png")
    with pytest.raises(ValueError, match=r"mask is in color: lesion must be white \(255\) on black"):
        decode_mask(tmp_path / "red.png")
    Image.new("RGB", (4, 4), (255, 255, 255)).convert(mode).save(tmp_path / "white.png")
    assert np.asarray(decode_mask(tmp_path / "white.png")).tolist() == [[255] * 4] * 4


def test_an_empty_and_a_full_mask_are_masks() -> None:
    assert lesion_pixels(gray([0, 0])).tolist() == [[0, 0]]
    assert lesion_pixels(gray([255, 255])).tolist() == [[255, 255]]


def test_a_small_masks_pixel_is_lesion_where_more_than_half_of_its_area_is() -> None:
    mask = gray([255, 255, 255, 255, 0, 0], [255, 0, 0, 0, 0, 255])  # 3, 2 and 1 of 4
    assert fitted_mask(mask, 1, 3).tolist() == [[255, 0, 0]]


def test_values_are_judged_before_the_size_is_changed() -> None:
    # the mean of the left block is 150, but only a quarter of it is lesion
    mask = gray([128, 128, 0, 255], [128, 216, 0, 255])
    assert fitted_mask(mask, 1, 2).tolist() == [[0, 0]]


def test_a_mask_made_larger_keeps_its_area() -> None:
    assert fitted_mask(gray([255, 0]), 2, 4).tolist() == [[255, 255, 0, 0]] * 2


def test_a_fraction_of_a_pixel_counts_by_its_area() -> None:
    # of 10 pixels, 5 are lesion; each third of a row of 10 holds 3.33 of them
    mask = gray([255] * 5 + [0] * 5)
    assert fitted_mask(mask, 1, 3).tolist() == [[255, 0, 0]]
    mask = gray([255] * 6 + [0] * 4)
    assert fitted_mask(mask, 1, 3).tolist() == [[255, 255, 0]]


def test_native_mask_is_of_the_files_size(tmp_path: Path) -> None:
    gray([0, 200, 100], [0, 200, 255]).save(tmp_path / "m.png")
    record = Record("a", ImageFile(tmp_path / "a.jpg"), mask=MaskFile(tmp_path / "m.png"))
    assert native_mask(record).tolist() == [[0, 255, 0], [0, 255, 255]]


def test_a_record_without_a_mask_has_no_native_mask(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a has no mask"):
        native_mask(Record("a", ImageFile(tmp_path / "a.jpg")))


@pytest.fixture
def corner_in_the_file(tmp_path: Path) -> tuple[Path, Path]:
    """An image and its mask, 30 wide and 20 high as stored, both bright in the stored upper left corner."""
    pixels = np.zeros((20, 30), np.uint8)
    pixels[:8, :12] = 255
    Image.fromarray(pixels).save(tmp_path / "mask.png")
    Image.fromarray(np.stack([pixels] * 3, axis=2)).save(tmp_path / "image.png")
    return tmp_path / "image.png", tmp_path / "mask.png"


def set_orientation(path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    content = io.BytesIO()
    with Image.open(path) as image:
        image.save(content, "PNG", exif=exif)
    path.write_bytes(content.getvalue())


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_mask_is_turned_as_its_photograph(corner_in_the_file: tuple[Path, Path], orientation: int) -> None:
    image, mask = corner_in_the_file
    set_orientation(image, orientation)
    upright = np.asarray(ImageFile(image).read())[:, :, 0]
    assert np.array_equal(np.asarray(MaskFile(mask, image).read()), upright)


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_mask_with_an_orientation_of_its_own_is_turned_once(
    corner_in_the_file: tuple[Path, Path], orientation: int
) -> None:
    image, mask = corner_in_the_file
    for path in (image, mask):
        set_orientation(path, orientation)
    upright = np.asarray(ImageFile(image).read())[:, :, 0]
    assert np.array_equal(np.asarray(MaskFile(mask, image).read()), upright)


def test_a_mask_with_an_orientation_of_its_own_needs_none_of_its_photograph(
    corner_in_the_file: tuple[Path, Path],
) -> None:
    image, mask = corner_in_the_file
    set_orientation(image, 8)
    set_orientation(mask, 3)
    turned = np.zeros((20, 30), np.uint8)
    turned[12:, 18:] = 255  # by 180 degrees
    assert np.array_equal(np.asarray(MaskFile(mask, image).read()), turned)


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_a_mask_that_lies_upright_already_is_not_turned(
    corner_in_the_file: tuple[Path, Path], orientation: int
) -> None:
    image, mask = corner_in_the_file
    set_orientation(image, orientation)
    ImageFile(image).read().convert("L").save(mask)
    upright = np.asarray(ImageFile(image).read())[:, :, 0]
    assert np.array_equal(np.asarray(MaskFile(mask, image).read()), upright)


def test_the_fingerprint_of_a_mask_changes_with_its_photograph(corner_in_the_file: tuple[Path, Path]) -> None:
    image, mask = corner_in_the_file
    before = MaskFile(mask, image).fingerprint()
    set_orientation(image, 6)
    assert MaskFile(mask, image).fingerprint() != before


def test_a_transparent_pixel_of_a_mask_is_no_lesion(tmp_path):
    white = np.full((4, 4, 4), 255, np.uint8)
    white[:2, :, 3] = 0
    Image.fromarray(white, "RGBA").save(tmp_path / "mask.png")
    assert np.asarray(decode_mask(tmp_path / "mask.png")).tolist() == [[0] * 4] * 2 + [[255] * 4] * 2
