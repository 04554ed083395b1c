"""Exporting the pre-trained encoder."""

import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from torch import nn

from gravis_triton.checksums import write_checksums
from gravis_triton.files import atomic_directory, writing
from gravis_triton.models import save_encoder


def export_encoder(encoder: nn.Module, directory: Path, *, image_size: int, image_ids: Sequence[str]) -> None:
    """Write the encoder in timm's Hugging Face format, along with the ids of the images it was trained on.

    The directory is written atomically. `image_ids.json` lets an evaluation detect test images that the encoder was
    trained on.
    """
    with atomic_directory(directory) as partial:
        save_encoder(encoder, partial, image_size=image_size)
        write_checksums(partial)
        (partial / "image_ids.json").write_text(json.dumps(list(image_ids)))


def check_export(encoder: nn.Module, *, image_size: int) -> None:
    """Export to a temporary directory, so that a run that cannot save its result fails before training."""
    with TemporaryDirectory() as directory, writing(Path(directory) / "model.safetensors"):
        save_encoder(encoder, Path(directory), image_size=image_size)
