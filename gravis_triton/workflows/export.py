"""Export the encoder or the fine-tuned model of a run for other software."""

from dataclasses import dataclass
from pathlib import Path

import torch

from gravis_triton.errors import UserError
from gravis_triton.files import atomic_directory, write_json
from gravis_triton.inference.export import FORMATS, Portable, open_portable
from gravis_triton.settings import ExportSettings

_PREPROCESSING = "preprocessing.json"
_TOLERANCE = 1e-3  # relative to the largest output


@dataclass(frozen=True, slots=True)
class ExportResult:
    """directory: of the exported network. difference: largest deviation from PyTorch's outputs, on random images."""

    directory: Path
    difference: float


def export(settings: ExportSettings) -> ExportResult:
    """Export a run's fine-tuned model, or else its encoder, to another format, and verify its outputs.

    Raises UserError for anything the user can fix, and if the exported network's outputs deviate.
    """
    directory = Path(settings.output or Path(settings.run) / f"export-{settings.format}")
    if directory.exists() and not directory.is_dir():
        raise UserError(f"--output {directory} is a file: use a directory")
    if directory.exists() and not settings.overwrite:
        raise UserError(f"{directory} exists: use --overwrite or another --output")
    if directory.exists() and not (directory / _PREPROCESSING).is_file() and any(directory.iterdir()):
        raise UserError(f"--overwrite: {directory} contains something other than an export; choose another --output")
    network = open_portable(settings.run)
    format = FORMATS[settings.format]
    images = network.example(3)  # a batch size other than the traced one
    with torch.no_grad():
        expected = network(images)
    with atomic_directory(directory) as partial:
        format.write(network, partial)
        write_json(partial / _PREPROCESSING, _preprocessing(network, is_complete=format.is_complete))
        difference = (format.run(partial, images) - expected).abs().max().item()
        largest = expected.abs().max().item()
        if not difference <= _TOLERANCE * largest:
            raise UserError(
                f"the exported network is off by {difference:.2g} (outputs up to {largest:.2g}): use another --format"
            )
    print(f"{network.output}: {directory}")
    print(f"largest difference from PyTorch: {difference:.2g} (outputs up to {largest:.2g})")
    if network.averages_flips:
        print("not exported: averaging over flips (--tta), which the run's scores include")
    return ExportResult(directory, difference)


def _preprocessing(network: Portable, *, is_complete: bool) -> dict[str, object]:
    """How to turn an image into an input, and what the outputs are."""
    size, of_masks = network.image_size, network.output == "lesion probability"
    mean, std = ([round(value, 6) for value in values.flatten().tolist()] for values in (network.mean, network.std))
    return {
        "input": f"RGB in [0, 1], (batch, 3, {size}, {size}), "
        + ("not normalized" if is_complete else f"normalized by mean {mean} and standard deviation {std}"),
        "crop": "none: the whole image is resized to a square" if of_masks else "the largest central square",
        "interpolation": "bilinear, antialiased",
        "output": "logits" if network.classes and not is_complete else network.output,
        "classes": network.classes,
    }
