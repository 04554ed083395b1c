"""Export the encoder or the fine-tuned model of a run for other software."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.export import Dim

from gravis_triton.errors import UserError
from gravis_triton.files import atomic_directory, write_json
from gravis_triton.inference.saved_model import find_model, load
from gravis_triton.models import Preprocessing, normalization, open_encoder, save_classifier, save_encoder
from gravis_triton.settings.jobs import ExportSettings
from gravis_triton.tasks.classification import Classifier

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
    images = network.example(3)  # a batch size other than the traced one
    with atomic_directory(directory) as partial:
        write_network(network, settings.format, partial)
        write_json(partial / _PREPROCESSING, _preprocessing(network, is_complete=settings.format != "timm"))
        with torch.no_grad():
            expected = network(images)
            difference = (run_network(network, settings.format, partial, images) - expected).abs().max().item()
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


def _preprocessing(network: "Portable", *, is_complete: bool) -> dict[str, object]:
    """How to turn an image into an input, and what the outputs are. is_complete: the exported network includes
    normalization and activation."""
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


class Portable(nn.Module):
    """RGB images (batch, 3, size, size) in [0, 1] to features (batch, dim), class probabilities (batch, classes) or
    lesion probabilities (batch, 1, size, size). It needs only PyTorch, and is in evaluation mode.

    model: a `Predictor`, or what else has its attributes. output: features, class probabilities or lesion probability.
    classes: their names, in order; empty otherwise. averages_flips: whether the model averages over flips (--tta) in
    prediction; this module never does.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.network, self.activation, self.output = model.network, model.activation, model.output
        self.classes, self.averages_flips, self.image_size = model.classes, model.tta, model.preprocess.image_size
        self.mean = nn.Buffer(torch.tensor(model.preprocess.mean).view(3, 1, 1))
        self.std = nn.Buffer(torch.tensor(model.preprocess.std).view(3, 1, 1))
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        return self.activation(self.network((images - self.mean) / self.std))

    def example(self, batch: int) -> Tensor:
        """Random images, the same in every call."""
        generator = torch.Generator().manual_seed(batch)
        return torch.rand(batch, 3, self.image_size, self.image_size, generator=generator)


def open_portable(run: str) -> Portable:
    """The fine-tuned model of a run, else its encoder. Raises UserError if there is neither."""
    if find_model(run) is not None:
        return Portable(load(run))
    opened = open_encoder(run, model=None, image_size=None, default_size=224)
    preprocess = Preprocessing.of(opened.encoder, image_size=opened.image_size, cache_size=opened.image_size)
    features = {"output": "features", "activation": nn.Identity(), "classes": (), "tta": False}
    return Portable(SimpleNamespace(network=opened.encoder, preprocess=preprocess, **features))


def write_network(network: Portable, format: str, directory: Path) -> None:
    """Write a network in a format to a directory.

    torch-export: model.pt2, for `torch.export.load`, with a dynamic batch. onnx: model.onnx (input `images`, output
    `output`, dynamic batch). timm: config.json and model.safetensors, for `timm.create_model("local-dir:DIRECTORY",
    pretrained=True)`, without normalization and activation.

    Raises UserError without onnxscript, for a segmentation network in timm's format, and as `save_classifier` does.
    """
    model, example, shapes = network.network, (network.example(2),), {"images": {0: Dim("batch")}}
    if format == "torch-export":
        torch.export.save(torch.export.export(network, example, dynamic_shapes=shapes), directory / "model.pt2")
    elif format == "onnx":
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # hides warnings about unneeded opsets
        with _onnx_installed():
            torch.onnx.export(
                network,
                example,
                directory / "model.onnx",
                input_names=["images"],
                output_names=["output"],
                dynamic_shapes=shapes,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    elif network.output == "features":
        save_encoder(model, directory, image_size=network.image_size)
    elif isinstance(model, Classifier):
        mean, std, classes = network.mean.flatten().tolist(), network.std.flatten().tolist(), network.classes
        size, encoder, head = network.image_size, model.encoder, model.classifier
        save_classifier(encoder, head, directory, image_size=size, mean=mean, std=std, classes=classes)
    else:
        raise UserError("--format timm does not support segmentation networks; use onnx or torch-export")


def run_network(network: Portable, format: str, directory: Path, images: Tensor) -> Tensor:
    """The outputs of the written `network` for RGB images in [0, 1]. Raises UserError without onnxruntime."""
    if format == "torch-export":
        return torch.export.load(directory / "model.pt2").module()(images)
    if format == "onnx":
        with _onnx_installed():
            import onnxruntime
        session = onnxruntime.InferenceSession(directory / "model.onnx", providers=["CPUExecutionProvider"])
        return torch.from_numpy(session.run(None, {"images": images.numpy()})[0])
    model = timm.create_model(f"local-dir:{directory}", pretrained=True).eval()
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in normalization(model))
    return network.activation(model((images - mean) / std))


@contextmanager
def _onnx_installed() -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        package = error.name or "onnx"
        raise UserError(
            f"--format onnx needs {package}: pip install onnx onnxscript onnxruntime, or use torch-export"
        ) from error
