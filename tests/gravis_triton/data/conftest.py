"""Writers of tiny datasets on disk."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Images = Callable[[Path, Iterable[str]], None]


@pytest.fixture
def images() -> Images:
    """Writes image files of these names, 12 wide and 8 high, each of another shade, into a folder."""

    def write(folder: Path, names: Iterable[str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for number, name in enumerate(names):
            pixels = np.full((8, 12, 3), 10 + number % 240, np.uint8)
            kind = "JPEG" if Path(name).suffix.lower() in (".jpg", ".jpeg", ".jpe", ".jfif") else None
            Image.fromarray(pixels).save(folder / name, kind)

    return write


@pytest.fixture
def masks() -> Images:
    """Writes single-channel PNG masks of these names, half lesion, into a folder."""

    def write(folder: Path, names: Iterable[str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.zeros((8, 12), np.uint8)
        pixels[:, :6] = 255
        for name in names:
            Image.fromarray(pixels).save(folder / name)

    return write
