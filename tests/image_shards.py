"""Writers of tiny sharded datasets, as they are streamed."""

import io
import tarfile
from collections.abc import Sequence
from pathlib import Path

import datasets
import numpy as np
from PIL import Image


def image(value: int, *, whole: bool = True) -> bytes:
    """A PNG file of one shade, 15 wide and 10 high; half of the file unless `whole`."""
    stream = io.BytesIO()
    Image.fromarray(np.full((10, 15, 3), value, np.uint8)).save(stream, "PNG")
    return stream.getvalue() if whole else stream.getvalue()[: stream.tell() // 2]


def write_parquet(
    folder: Path, sizes: Sequence[int], *, split: str = "train", first: int = 0, broken: Sequence[int] = ()
) -> None:
    """A Parquet file for each size: images first, first + 1, ... whose shade is their number, in two classes."""
    folder.mkdir(parents=True, exist_ok=True)
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "image_id": datasets.Value("string"),
            "label": datasets.ClassLabel(names=["nevus", "melanoma"]),
        }
    )
    for shard, size in enumerate(sizes):
        numbers = range(first, first + size)
        columns = {
            "image": [{"bytes": image(n % 256, whole=n not in broken), "path": f"{n}.png"} for n in numbers],
            "image_id": [f"image{n}" for n in numbers],
            "label": [n % 2 for n in numbers],
        }
        file = folder / f"{split}-{shard:05d}-of-{len(sizes):05d}.parquet"
        datasets.Dataset.from_dict(columns, features=features).to_parquet(file)
        first += size


def write_tars(folder: Path, sizes: Sequence[int], *, split: str = "train", broken: Sequence[int] = ()) -> None:
    """A WebDataset tar file for each size: images 0, 1, ... whose shade is their number, in two classes."""
    folder.mkdir(parents=True, exist_ok=True)
    number = 0
    for shard, size in enumerate(sizes):
        with tarfile.open(folder / f"{split}-{shard:05d}.tar", "w") as tar:
            tar.addfile(tarfile.TarInfo("LICENSE"))  # of no sample
            for _ in range(size):
                content = {
                    "png": image(number % 256, whole=number not in broken),
                    "cls": b"%d" % (number % 2),
                }
                for ending, data in content.items():
                    member = tarfile.TarInfo(f"image{number}.{ending}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
                number += 1
