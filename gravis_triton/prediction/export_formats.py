"""Export a portable network to timm, ONNX or torch.export, and run the exported network."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import timm
import torch
from torch import Tensor
from torch.export import Dim

from gravis_triton.errors import UserError
from gravis_triton.models import Classifier, normalization, save_classifier, save_encoder
from gravis_triton.prediction.portable import Portable


def write_torch_export(network: Portable, directory: Path) -> None:
    """Write model.pt2, for `torch.export.load`, with a dynamic batch."""
    shapes = {"images": {0: Dim("batch")}}
    program = torch.export.export(network, (network.example(2),), dynamic_shapes=shapes)
    torch.export.save(program, directory / "model.pt2")


def run_torch_export(directory: Path, images: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.export.load(directory / "model.pt2").module()(images)


def write_onnx(network: Portable, directory: Path) -> None:
    """Write model.onnx (input `images`, output `output`, dynamic batch). Raises UserError without onnxscript."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # hides warnings about unneeded opsets
    try:
        torch.onnx.export(
            network,
            (network.example(2),),
            directory / "model.onnx",
            input_names=["images"],
            output_names=["output"],
            dynamic_shapes={"images": {0: Dim("batch")}},
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    except ImportError as error:
        raise _not_installed(error) from error


def run_onnx(directory: Path, images: Tensor) -> Tensor:
    try:
        import onnxruntime
    except ImportError as error:
        raise _not_installed(error) from error
    session = onnxruntime.InferenceSession(directory / "model.onnx", providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {"images": images.numpy()})[0])


def _not_installed(error: ImportError) -> UserError:
    return UserError(
        f"--format onnx needs {error.name or 'onnx'}: pip install onnx onnxscript onnxruntime, or use torch-export"
    )


def write_timm(network: Portable, directory: Path) -> None:
    """Write config.json and model.safetensors, for `timm.create_model("local-dir:DIRECTORY", pretrained=True)`.

    Raises UserError for a segmentation network, and as `save_classifier` does.
    """
    if network.output == "lesion probability":
        raise UserError("--format timm does not support segmentation networks; use onnx or torch-export")
    if isinstance(network.network, Classifier):
        save_classifier(
            network.network,
            directory,
            image_size=network.image_size,
            mean=network.mean.flatten().tolist(),
            std=network.std.flatten().tolist(),
            classes=network.classes,
        )
    else:
        save_encoder(network.network, directory, image_size=network.image_size)


def run_timm(directory: Path, images: Tensor) -> Tensor:
    model = timm.create_model(f"local-dir:{directory}", pretrained=True).eval()
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in normalization(model))
    with torch.no_grad():
        output = model((images - mean) / std)
    return output.softmax(1) if model.num_classes else output


@dataclass(frozen=True, slots=True)
class ExportFormat:
    """How to write a network to a directory, and run it from there on RGB in [0, 1].

    is_whole: the exported network includes normalization and activation.
    """

    write: Callable[[Portable, Path], None]
    run: Callable[[Path, Tensor], Tensor]
    is_whole: bool


FORMATS = {
    "timm": ExportFormat(write_timm, run_timm, is_whole=False),
    "onnx": ExportFormat(write_onnx, run_onnx, is_whole=True),
    "torch-export": ExportFormat(write_torch_export, run_torch_export, is_whole=True),
}
