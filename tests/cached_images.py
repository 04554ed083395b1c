"""Images for tests of the cache: drawn, or failing to be read; and the files that hold them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from gravis_triton.data.datasets.records import Record


@dataclass(frozen=True)
class Gradient:
    """An image that gets brighter from left to right; `decoded` counts how often it was read."""

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


def cache_files(directory: Path) -> list[Path]:
    return sorted(directory.rglob("*.arrow"))
