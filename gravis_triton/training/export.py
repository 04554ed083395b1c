"""What a pre-training run is for: the encoder, alone."""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from gravis_triton.models import save_encoder


def export_encoder(
    encoder: nn.Module, directory: Path, *, image_size: int, source_ids: Sequence[str]
) -> None:
    """Write the encoder in timm's Hugging Face format, and beside it the ids of the images it was trained on.

    The directory appears whole, in place of an earlier one. `source_ids.json` lets an evaluation tell whether it tests
    on images that the encoder has seen.
    """
    partial = directory.with_name(f".partial-{directory.name}")
    shutil.rmtree(partial, ignore_errors=True)
    save_encoder(encoder, partial, image_size=image_size)
    (partial / "source_ids.json").write_text(json.dumps(list(source_ids)))
    shutil.rmtree(directory, ignore_errors=True)
    os.replace(partial, directory)
