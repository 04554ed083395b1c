"""Decoding single images: upright, complete, in the right mode."""

import pickle
import struct
import zlib
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gravis_triton.data.datasets.decode import upright_size
from gravis_triton.data.datasets.references import ImageFile, MaskFile, SyntheticImage, SyntheticMask


def save_noise(path: Path, width: int, height: int, **options: object) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **options)  # type: ignore[arg-type]


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise: what is left in the file is on top
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:, :20] = 255
    Image.fromarray(pixels).save(tmp_path / "a.jpg", exif=exif, quality=95)
    upright = np.asarray(ImageFile(tmp_path / "a.jpg").read())
    assert upright.shape == (40, 20, 3)
    assert upright[:18].mean() > 240
    assert upright[22:].mean() < 15


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_masks_and_sizes_agree_in_every_orientation(tmp_path: Path, suffix: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    lesion = np.zeros((40, 60), np.uint8)
    lesion[5:12, 8:30] = 255
    picture = tmp_path / f"a.{suffix}"
    Image.fromarray(np.dstack([lesion] * 3)).save(picture, exif=exif)
    Image.fromarray(lesion).save(tmp_path / "as-stored.png")
    Image.fromarray(np.dstack([lesion] * 3)).save(tmp_path / "own.tif", exif=exif)
    upright = ImageFile(picture).read()
    assert upright_size(picture) == upright.size == ((40, 60) if orientation > 4 else (60, 40))
    for mask in ("as-stored.png", "own.tif"):
        read = MaskFile(tmp_path / mask, picture).read()
        assert (np.asarray(read) > 128).tolist() == (np.asarray(upright)[..., 0] > 128).tolist()


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (np.array([[0, 255]], np.uint16), [0, 255]),
        (np.array([[0, 1]], np.uint16), [0, 1]),
        (np.array([[0, 255]], np.int32), [0, 255]),
        (np.array([[0, 257, 65535]], np.uint16), [0, 1, 255]),
        (np.array([[0, 0.5, 1]], np.float32), [0, 127, 255]),
        (np.array([[0, 100, 300]], np.float32), [0, 100, 255]),
        (np.array([[0, 2047.5, 4095]], np.float32), [0, 127, 255]),
    ],
)
def test_gray_of_more_than_eight_bits_keeps_its_range(tmp_path: Path, pixels: np.ndarray, expected: list) -> None:
    Image.fromarray(pixels).save(tmp_path / "a.tif")
    assert np.asarray(MaskFile(tmp_path / "a.tif").read())[0].tolist() == expected
    assert np.asarray(ImageFile(tmp_path / "a.tif").read())[0, :, 0].tolist() == expected


def test_huge_jpeg_is_decoded_smaller_but_not_below_the_wanted_short_side(tmp_path: Path) -> None:
    save_noise(tmp_path / "a.jpg", 1600, 1203)
    assert ImageFile(tmp_path / "a.jpg").read().size == (1600, 1203)
    assert ImageFile(tmp_path / "a.jpg").read(short_side=224).size == (400, 301)
    assert ImageFile(tmp_path / "a.jpg").read(short_side=302).size == (800, 602)


def test_huge_jpeg_that_is_turned_keeps_the_wanted_short_side(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 8
    save_noise(tmp_path / "a.jpg", 1600, 400, exif=exif)
    assert ImageFile(tmp_path / "a.jpg").read(short_side=100).size == (100, 400)


def test_forty_megapixels_are_read(tmp_path: Path) -> None:
    Image.new("RGB", (7800, 5200), (200, 150, 120)).save(tmp_path / "a.jpg")
    assert ImageFile(tmp_path / "a.jpg").read(short_side=96).size == (975, 650)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_truncated_file_raises_instead_of_turning_gray(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    save_noise(path, 200, 150)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises((OSError, ValueError)):
        ImageFile(path).read()


def test_any_fault_of_the_decoder_is_an_os_error_or_a_value_error(tmp_path: Path) -> None:
    save_noise(tmp_path / "a.png", 60, 40)
    whole = (tmp_path / "a.png").read_bytes()
    generator = np.random.default_rng(1)
    refused = 0
    for _ in range(200):
        damaged = bytearray(whole)
        for position in generator.integers(8, len(whole), 5):
            damaged[position] = generator.integers(256)
        (tmp_path / "b.png").write_bytes(damaged)
        try:
            assert ImageFile(tmp_path / "b.png").read().mode == "RGB"
        except (OSError, ValueError):
            refused += 1
    assert refused > 20


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1", "LA"])
def test_photographs_of_any_mode_are_read_as_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    Image.new("RGB", (6, 4), (255, 255, 255)).convert(mode).save(path)
    image = ImageFile(path).read()
    assert image.mode == "RGB"
    assert image.getpixel((2, 2)) == (255, 255, 255)


def test_sixteen_bit_gray_keeps_its_whole_range(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 257 * 100, 65535]], np.uint16)).save(tmp_path / "a.png")
    assert np.asarray(ImageFile(tmp_path / "a.png").read())[0, :, 0].tolist() == [0, 100, 255]


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_fewer_bits_in_sixteen_are_read_with_their_range(tmp_path: Path, bits: int) -> None:
    Image.fromarray(np.array([[0, 2 ** (bits - 1), 2**bits - 1]], np.uint16)).save(tmp_path / "a.png")
    assert np.asarray(ImageFile(tmp_path / "a.png").read())[0, :, 0].tolist() == [0, 127, 255]


def test_mask_stays_single_channel_and_at_native_size(tmp_path: Path) -> None:
    Image.new("RGB", (30, 20), (255, 255, 255)).save(tmp_path / "a.png")
    mask = MaskFile(tmp_path / "a.png").read(short_side=5)
    assert (mask.mode, mask.size, mask.getextrema()) == ("L", (30, 20), (255, 255))


def test_fingerprint_changes_with_the_file(tmp_path: Path) -> None:
    save_noise(tmp_path / "a.png", 6, 4)
    before = ImageFile(tmp_path / "a.png").fingerprint()
    assert ImageFile(tmp_path / "a.png").fingerprint() == before
    save_noise(tmp_path / "a.png", 60, 4)
    assert ImageFile(tmp_path / "a.png").fingerprint() != before


def test_fingerprint_of_a_missing_file_differs_from_that_of_the_file(tmp_path: Path) -> None:
    missing = ImageFile(tmp_path / "a.png").fingerprint()
    save_noise(tmp_path / "a.png", 6, 4)
    assert missing == "a.png:missing"
    assert ImageFile(tmp_path / "a.png").fingerprint() != missing


def test_synthetic_picture_has_the_wanted_size_and_its_mask_the_same() -> None:
    image, mask = SyntheticImage(0, 3).read(32), SyntheticMask(0, 3).read(32)
    assert (image.mode, image.size) == ("RGB", (32, 32))
    assert (mask.mode, mask.size) == ("L", (32, 32))
    assert set(np.unique(np.asarray(mask))) == {0, 255}


def test_synthetic_fingerprint_names_seed_and_index() -> None:
    prints = {SyntheticImage(seed, index).fingerprint() for seed in (0, 1) for index in (0, 1)}
    assert len(prints) == 4


def test_references_pickle_small(tmp_path: Path) -> None:
    reference = pickle.loads(pickle.dumps(SyntheticImage(2, 5)))
    assert reference == SyntheticImage(2, 5)
    assert len(pickle.dumps(SyntheticImage(2, 5))) < 200


def png_of_16_bits(values: np.ndarray) -> bytes:
    """A PNG file of (height, width, 3 or 4) values, which Pillow cannot write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width, channels = values.shape
    header = struct.pack(">IIBBBBB", width, height, 16, {3: 2, 4: 6}[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in values.astype(">u2"))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tiff_of_16_bits(values: np.ndarray, order: str, orientation: int = 1) -> bytes:
    """An uncompressed TIFF file of (height, width, 3) values, in the order of bytes "<" or ">"."""
    height, width, _ = values.shape
    pixels = values.astype(f"{order}u2").tobytes()
    tags = [(256, width), (257, height), (258, 8 + 12 * 11 + 6), (259, 1), (262, 2), (273, 8 + 12 * 11 + 12)]
    tags += [(274, orientation), (277, 3), (278, height), (279, len(pixels)), (284, 1)]
    entries = b"".join(
        struct.pack(f"{order}HHI", tag, 3, 3 if tag == 258 else 1)
        + struct.pack(f"{order}I" if tag == 258 else f"{order}HH", *([value] if tag == 258 else [value, 0]))
        for tag, value in tags
    )
    magic = b"II*\0" if order == "<" else b"MM\0*"
    directory = struct.pack(f"{order}IH", 8, len(tags)) + entries + struct.pack(f"{order}I", 0)
    return magic + directory + struct.pack(f"{order}HHH", 16, 16, 16) + pixels


@pytest.mark.parametrize(
    "encode",
    [
        png_of_16_bits,
        lambda values: png_of_16_bits(np.dstack([values, np.full(values.shape[:2], 65535)])),
        partial(tiff_of_16_bits, order="<"),
        partial(tiff_of_16_bits, order=">"),
    ],
    ids=["png", "png with transparency", "tiff", "big-endian tiff"],
)
def test_color_of_16_bits_has_the_range_of_the_bits_that_it_uses(tmp_path, encode):
    for bits, middle in ((10, 127), (12, 127), (14, 127), (16, 128)):
        top = 2**bits - 1
        values = np.array([[[top, 0, top // 2], [top // 2 + 1, top, 0]]])
        (tmp_path / "a").write_bytes(encode(values))
        (first, second) = np.asarray(ImageFile(tmp_path / "a").read())[0].tolist()
        assert [first[0], first[1], second[1], second[2]] == [255, 0, 255, 0]
        assert first[2] == 127
        assert second[0] == middle  # 16 bits keep the high byte
    (tmp_path / "a").write_bytes(encode(np.array([[[255, 128, 7], [0, 0, 0]]])))
    assert np.asarray(ImageFile(tmp_path / "a").read())[0, 0].tolist() == [255, 128, 7]


def test_color_of_12_bits_is_turned_upright(tmp_path):
    (tmp_path / "a").write_bytes(tiff_of_16_bits(np.array([[[4095, 0, 0], [0, 4095, 0]]]), "<", orientation=6))
    upright = np.asarray(ImageFile(tmp_path / "a").read())
    assert upright.tolist() == [[[255, 0, 0]], [[0, 255, 0]]]
