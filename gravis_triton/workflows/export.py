"""Export the encoder or the fine-tuned model of a run for other software."""

import logging
from dataclasses import dataclass
from pathlib import Path

import timm
import torch
from torch import Tensor, nn
from torch.export import Dim

from gravis_triton.errors import UserError
from gravis_triton.files import atomic_directory, write_json
from gravis_triton.inference.saved_model import find_model, load
from gravis_triton.models import Preprocessing, normalization, open_encoder, save_classifier, save_encoder
from gravis_triton.settings import ExportSettings
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
    write, run = FORMATS[settings.format]
    images = network.example(3)  # a batch size other than the traced one
    with torch.no_grad():
        expected = network(images)
    with atomic_directory(directory) as partial:
        write(network, partial)
        write_json(partial / _PREPROCESSING, _preprocessing(network, is_complete=settings.format != "timm"))
        difference = (run(partial, images) - expected).abs().max().item()
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

    output: features, class probabilities or lesion probability. classes: their names, in order; empty otherwise.
    averages_flips: whether the model averages over flips (--tta) in prediction; this module never does.
    """

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
        self.mean = nn.Buffer(torch.tensor(preprocess.mean).view(3, 1, 1))
        self.std = nn.Buffer(torch.tensor(preprocess.std).view(3, 1, 1))
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        return self.activation(self.network((images - self.mean) / self.std))

    def example(self, batch: int) -> Tensor:
        """Random images, the same in every call."""
        generator = torch.Generator().manual_seed(batch)
        return torch.rand(batch, 3, self.image_size, self.image_size, generator=generator)


def open_portable(run: str) -> Portable:
    """The fine-tuned model of a run, else its encoder. Raises UserError if there is neither."""
    if find_model(run) is None:
        opened = open_encoder(run, model=None, image_size=None, default_size=224)
        size = opened.image_size
        preprocess = Preprocessing.of(opened.encoder, image_size=size, cache_size=size)
        return Portable(opened.encoder, preprocess, output="features", activation=nn.Identity())
    model = load(run)
    return Portable(
        model.network,
        model.preprocess,
        output=model.output,
        activation=model.activation,
        classes=model.classes,
        averages_flips=model.tta,
    )


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
    """Write config.json and model.safetensors, for `timm.create_model("local-dir:DIRECTORY", pretrained=True)`; without
    normalization and activation.

    Raises UserError for a segmentation network, and as `save_classifier` does.
    """
    model, size = network.network, network.image_size
    if network.output == "features":
        save_encoder(model, directory, image_size=size)
    elif isinstance(model, Classifier):
        mean, std, classes = network.mean.flatten().tolist(), network.std.flatten().tolist(), network.classes
        save_classifier(
            model.encoder, model.classifier, directory, image_size=size, mean=mean, std=std, classes=classes
        )
    else:
        raise UserError("--format timm does not support segmentation networks; use onnx or torch-export")


def run_timm(directory: Path, images: Tensor) -> Tensor:
    model = timm.create_model(f"local-dir:{directory}", pretrained=True).eval()
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in normalization(model))
    with torch.no_grad():
        output = model((images - mean) / std)
    return output.softmax(1) if model.num_classes else output


FORMATS = {
    "timm": (write_timm, run_timm),
    "onnx": (write_onnx, run_onnx),
    "torch-export": (write_torch_export, run_torch_export),
}
"""How to write a network to a directory, and to run it from there on RGB in [0, 1]."""
