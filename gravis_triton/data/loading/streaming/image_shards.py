"""Images in shards: Parquet files or WebDataset tar files, local or on the Hugging Face hub."""

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import UnidentifiedImageError

from gravis_triton.data.cache.pixels import resized_pixels
from gravis_triton.data.datasets.decode import decode_image
from gravis_triton.errors import UserError

_READ = 16  # rows fetched together


@dataclass(frozen=True, slots=True)
class Row:
    """One image, still encoded. cell: {"bytes", "path"} as `datasets` gives it, None if the row has no image.

    label: as stored in the dataset. groups: cells of the group columns (lesion, patient).
    """

    id: str
    cell: Mapping[str, Any] | None
    label: int | str | None
    groups: tuple[object, ...]

    def pixels(self, short_side: int) -> np.ndarray:
        """(height, width, 3) uint8, upright, min(height, width) == short_side.

        Raises OSError or ValueError when the image cannot be decoded in full.
        """
        if self.cell is None:
            raise ValueError("no image in this row")
        encoded, path = self.cell["bytes"], self.cell["path"]
        file = Path(path) if encoded is None else io.BytesIO(encoded)
        try:
            return resized_pixels(decode_image(file, short_side), short_side)
        except UnidentifiedImageError as error:  # its message names a BytesIO object
            raise ValueError("not an image of a known format") from error


@dataclass(frozen=True, slots=True)
class ImageShards:
    """The shards of some splits of a dataset, numbered from 0 across the splits.

    splits: (name, `datasets.IterableDataset` with undecoded images). rows: of each shard, None if not known without
    reading all of it. class_names: the classes that labels index, empty if labels are values.
    """

    name: str
    splits: tuple[tuple[str, Any], ...]
    rows: tuple[int | None, ...]
    image_column: str
    label_column: str | None = None
    id_column: str | None = None
    group_columns: tuple[str, ...] = ()
    class_names: tuple[str, ...] = ()

    def read(self, shard: int, first: int = 0) -> Iterator[Row]:
        """The rows of one shard from its row `first` on, in order.

        Raises UserError if the shard cannot be read.
        """
        split, data, index = self._find(shard)
        part = data.shard(num_shards=data.num_shards, index=index)
        if first:
            part = part.skip(first)
        number = first
        try:
            # not iter(part), which in a DataLoader worker would leave out the other workers' shares
            for rows in part.iter(batch_size=_READ):
                for position, cell in enumerate(rows[self.image_column]):
                    name, label = (
                        rows[column][position] if column else None
                        for column in (self.id_column, self.label_column)
                    )
                    yield Row(
                        id=f"{split}/{index:05d}/{number:06d}" if name is None else str(name),
                        cell=cell,
                        label=label,
                        groups=tuple(rows[column][position] for column in self.group_columns),
                    )
                    number += 1
        except Exception as error:  # of pyarrow, tarfile, fsspec, the hub's client ...
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UserError(
                f"{self.name}: shard {index} of split {split} cannot be read after row {number} ({reason}): "
                "fix or remove it"
            ) from error

    def _find(self, shard: int) -> tuple[str, Any, int]:
        for split, data in self.splits:
            if shard < data.num_shards:
                return split, data, shard
            shard -= data.num_shards
        raise IndexError(shard)
