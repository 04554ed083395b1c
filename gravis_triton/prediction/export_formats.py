"""Writing a portable network as ONNX or as a program of torch.export, and running the file that was written."""

import logging
from pathlib import Path

import torch
from torch import Tensor
from torch.export import Dim

from gravis_triton.errors import UserError
from gravis_triton.prediction.portable import Portable


def write_torch_export(network: Portable, directory: Path) -> None:
    """model.pt2, for `torch.export.load`, with a dynamic batch."""
    shapes = {"images": {0: Dim("batch")}}
    program = torch.export.export(network, (network.example(2),), dynamic_shapes=shapes)
    torch.export.save(program, directory / "model.pt2")


def run_torch_export(directory: Path, images: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.export.load(directory / "model.pt2").module()(images)


def write_onnx(network: Portable, directory: Path) -> None:
    """model.onnx with input `images` and output `output`, with a dynamic batch. Raises UserError without onnxscript."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # opsets that it does not need
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


FORMATS = {"onnx": (write_onnx, run_onnx), "torch-export": (write_torch_export, run_torch_export)}
"""Format -> how it is written to a directory, and run from it."""
