"""Decoding one image: upright, in full, as 8-bit RGB (images) or 8-bit gray (masks)."""

import math
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageChops, ImageOps

_ORIENTATION, _WIDTH, _HEIGHT = (ExifTags.Base[name] for name in ("Orientation", "ImageWidth", "ImageLength"))
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_DEPTHS = (1023, 4095, 16383, 65535)  # largest values of 10, 12, 14 and 16 bits
_OTHER_ORDER = {
    f"{mode};16{order}": f"{mode};16{other}"
    for mode in ("RGB", "RGBA")
    for order, other in (("B", "L"), ("L", "B"), ("N", "B" if sys.byteorder == "little" else "L"))
}
"""Pillow's name of 16 bits per channel -> with the other order of bytes."""
_MOST_COLOR = 32  # largest difference between a gray pixel's channels (JPEG rounding)
_QUARTER_TURNS = {_TURNS[orientation] for orientation in (5, 6, 7, 8)}


def decode_image(source: Path | BinaryIO, short_side: int | None = None) -> Image.Image:
    """The image in `source` as an upright RGB image (EXIF orientation applied).

    short_side: a JPEG larger than this is decoded at 1/2, 1/4 or 1/8 of its size (Pillow's draft mode), as
    long as its short side stays at least this many pixels.
    Images of 10, 12 or 14 bits in 16 have their full range.
    Raises OSError or ValueError if it cannot be decoded in full; missing parts are never filled with gray.
    Pillow's decompression bomb limit (about 179 million pixels) applies.
    """
    return _decode(source, lambda image: _to_eight_bits(image).convert("RGB"), short_side)


def as_upright_image(image: Image.Image) -> Image.Image:
    """An opened image as upright 8-bit RGB, as `decode_image` returns it."""
    return _to_eight_bits(ImageOps.exif_transpose(image)).convert("RGB")


def upright_size(source: Path | BinaryIO) -> tuple[int, int]:
    """(width, height) of the image in `source`, upright, from its header."""
    with _open(source) as image:
        return _turn_and_size(image)[1]


def decode_mask(source: Path | BinaryIO, image: Path | BinaryIO | None = None) -> Image.Image:
    """The mask in `source` at its native size, one 8-bit channel. Raises as `decode_image` does, and
    ValueError for a mask in color.

    image: the image the mask was drawn on. A mask without an EXIF orientation of its own is turned like its
    image, unless its size shows that it is already upright.
    """
    return _decode(source, _to_gray, None, drawn_on=image)


def _open(source: Path | BinaryIO) -> Image.Image:
    """Open an image. Raises OSError for anything but a regular file; a named pipe would block."""
    if isinstance(source, Path) and not stat.S_ISREG(source.stat().st_mode):
        raise OSError("not a regular file")
    return Image.open(source)


def _decode(
    source: Path | BinaryIO,
    convert: Callable[[Image.Image], Image.Image],
    short_side: int | None,
    drawn_on: Path | BinaryIO | None = None,
) -> Image.Image:
    try:
        with _open(source) as image:
            low_bytes = _tiles_of_low_bytes(image)  # PNG files are loaded for their orientation
            if short_side is not None:
                _draft(image, short_side)
            turned_as = None if _orientation(image) else drawn_on
            image.load()
            if low_bytes and np.asarray(image)[..., :3].max(initial=0) <= _DEPTHS[-2] >> 8:
                image.paste(_of_fewer_bits(image, source, low_bytes))
            return convert(ImageOps.exif_transpose(image) if turned_as is None else _turned_as(turned_as, image))
    except (OSError, ValueError, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders raise anything, from SyntaxError to struct.error
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _to_gray(image: Image.Image) -> Image.Image:
    """Raises ValueError for a mask in color, where lesion is ambiguous."""
    image = _to_eight_bits(image)
    is_two_colors = image.mode in ("P", "RGB") and len(image.getcolors(2) or ()) == 2
    if image.mode not in ("1", "L", "LA") and not is_two_colors:
        channels = np.asarray(image.convert("RGB")).astype(np.int16)
        if np.ptp(channels, axis=2).max() > _MOST_COLOR:
            raise ValueError("mask is in color: lesion must be white (255) on black (0)")
    gray = image.convert("L")
    if "A" in image.getbands():  # transparent is not lesion
        gray = ImageChops.multiply(gray, image.getchannel("A"))
    return gray


def _turned_as(image: Path | BinaryIO, mask: Image.Image) -> Image.Image:
    with _open(image) as opened:
        turn, (width, height) = _turn_and_size(opened)
    if turn is None:
        return mask
    is_upright = turn in _QUARTER_TURNS and (mask.width - mask.height) * (width - height) > 0
    return mask if is_upright else mask.transpose(turn)


def _turn_and_size(image: Image.Image) -> tuple[Image.Transpose | None, tuple[int, int]]:
    """The transpose that makes an opened image upright, and its (width, height) then."""
    turn = _TURNS.get(_orientation(image) or 1)
    width, height = image.size
    if image.format == "TIFF":  # some versions of Pillow have turned the size already
        width, height = image.tag_v2[_WIDTH], image.tag_v2[_HEIGHT]  # type: ignore[attr-defined]
    return turn, (height, width) if turn in _QUARTER_TURNS else (width, height)


def _orientation(image: Image.Image) -> int | None:
    """The EXIF orientation of an opened image, or None if its file has none."""
    # calling getexif() on a TIFF before loading it would make Pillow turn the pixels twice
    tags = image.tag_v2 if image.format == "TIFF" else image.getexif()  # type: ignore[attr-defined]
    return tags.get(_ORIENTATION)


def _draft(image: Image.Image, short_side: int) -> None:
    scale = short_side / min(image.size)
    if scale < 1:
        image.draft("RGB", (math.ceil(image.width * scale), math.ceil(image.height * scale)))


def _tiles_of_low_bytes(image: Image.Image) -> list[Any]:
    """The tiles that make Pillow decode the low bytes of an opened color image of 16 bits, of which it keeps the high
    ones: with the other order of bytes; none for other images."""
    tiles: list[Any] = []
    for codec, extents, offset, arguments in getattr(image, "tile", ()):
        mode, *others = (arguments,) if isinstance(arguments, str) else arguments or ("",)
        if mode not in _OTHER_ORDER:
            return []
        other = _OTHER_ORDER[mode]
        tiles.append((codec, extents, offset, (other, *others) if others else other))
    return tiles


def _of_fewer_bits(image: Image.Image, source: Path | BinaryIO, low_bytes: list[Any]) -> Image.Image:
    """The pixels of a loaded color image of 16 bits, which uses fewer of them, with their full range."""
    with _open(source) as low:
        low.tile = low_bytes  # type: ignore[attr-defined]
        low.load()
        high, rest = (np.asarray(one)[..., :3].astype(np.int64) for one in (image, low))
    return Image.fromarray(_scaled(high << 8 | rest).astype(np.uint8))


def _scaled(values: np.ndarray) -> np.ndarray:
    """Integers from 0 to 255, if any is above, from the range of the fewest bits that hold all."""
    largest = values.max(initial=0)
    if largest <= 255:
        return values
    full = next(depth for depth in _DEPTHS if min(largest, 65535) <= depth)
    return values.clip(0, full).astype(np.int64) * 255 // full


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """Convert gray of more than 8 bits with its full range; Pillow would clip it at 255.

    The range is 0 to 65,535 for integers, or that of the fewest bits of 8, 10, 12 and 14 that hold all pixels (cameras
    and scanners write these in a larger type); for floats 0 to 1, 0 to 255 if any pixel is above 1, or that of integers
    if any is twice as bright.
    """
    if not image.mode.startswith(("I", "F")):
        return image
    values = np.nan_to_num(np.asarray(image))
    if image.mode != "F" or values.max(initial=0) >= 512:
        values = _scaled(values)
    elif values.max(initial=0) <= 1:
        values = values * 255
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))
