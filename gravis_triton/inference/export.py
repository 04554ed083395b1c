"""A trained network as one module that needs only PyTorch; written for timm, ONNX or torch.export, and run there."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import timm
import torch
from torch import Tensor, nn
from torch.export import Dim

from gravis_triton.errors import UserError
from gravis_triton.inference.saved_model import load
from gravis_triton.models import Preprocessing, normalization, open_encoder, save_classifier, save_encoder
from gravis_triton.run_directory import RunDirectory
from gravis_triton.tasks import Classifier


class Portable(nn.Module):
    """RGB images (batch, 3, size, size) in [0, 1] to features (batch, dim), class probabilities (batch, classes) or
    lesion probabilities (batch, 1, size, size).

    output: features, class probabilities or lesion probability. classes: their names, in order; empty otherwise.
    averages_flips: whether the model averages over flips (--tta) in prediction; this module never does.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: nn.Module,
        preprocess: Preprocessing,
        *,
        output: str,
        activation: nn.Module,
        classes: tuple[str, ...] = (),
        averages_flips: bool = False,
    ) -> None:
        super().__init__()
        self.network, self.activation, self.output, self.classes = network, activation, output, classes
        self.image_size, self.averages_flips = preprocess.image_size, averages_flips
        self.register_buffer("mean", torch.tensor(preprocess.mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(preprocess.std).view(3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return self.activation(self.network((images - self.mean) / self.std))

    def example(self, batch: int) -> Tensor:
        """Random images, the same in every call."""
        generator = torch.Generator().manual_seed(batch)
        return torch.rand(batch, 3, self.image_size, self.image_size, generator=generator)


def open_portable(run: str | Path) -> Portable:
    """The fine-tuned model of a run, else its encoder, in evaluation mode. Raises UserError if there is neither."""
    path = Path(run)
    if not any((directory / "model.json").is_file() for directory in (path, RunDirectory(path).model)):
        opened = open_encoder(str(run), model=None, image_size=None, default_size=224)
        size = opened.image_size
        preprocess = Preprocessing.of(opened.encoder, image_size=size, cache_size=size)
        return Portable(opened.encoder, preprocess, output="features", activation=nn.Identity()).eval()
    predictor = load(path)
    return Portable(
        predictor.network,
        predictor.preprocess,
        output=predictor.output,
        activation=predictor.activation,
        classes=predictor.classes,
        averages_flips=predictor.tta,
    ).eval()


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
    mean, std = network.mean.flatten().tolist(), network.std.flatten().tolist()
    if network.output == "features":
        save_encoder(network.network, directory, image_size=network.image_size)
    elif isinstance(network.network, Classifier):
        save_classifier(
            network.network.encoder,
            network.network.classifier,
            directory,
            image_size=network.image_size,
            mean=mean,
            std=std,
            classes=network.classes,
        )
    else:
        raise UserError("--format timm does not support segmentation networks; use onnx or torch-export")


def run_timm(directory: Path, images: Tensor) -> Tensor:
    model = timm.create_model(f"local-dir:{directory}", pretrained=True).eval()
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in normalization(model))
    with torch.no_grad():
        output = model((images - mean) / std)
    return output.softmax(1) if model.num_classes else output


@dataclass(frozen=True, slots=True)
class ExportFormat:
    """How to write a network to a directory, and run it from there on RGB in [0, 1].

    is_complete: the exported network includes normalization and activation.
    """

    write: Callable[[Portable, Path], None]
    run: Callable[[Path, Tensor], Tensor]
    is_complete: bool


FORMATS = {
    "timm": ExportFormat(write_timm, run_timm, is_complete=False),
    "onnx": ExportFormat(write_onnx, run_onnx, is_complete=True),
    "torch-export": ExportFormat(write_torch_export, run_torch_export, is_complete=True),
}
