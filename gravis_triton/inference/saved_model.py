"""Save and load fine-tuned networks."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from gravis_triton.errors import UserError
from gravis_triton.files import atomic_directory, verify_checksums, write_checksums, write_json
from gravis_triton.models import Preprocessing, build_encoder
from gravis_triton.run_directory import RunDirectory
from gravis_triton.tasks.base import Predictor
from gravis_triton.tasks.classification import ClassPredictor
from gravis_triton.tasks.segmentation import MaskPredictor

_PREDICTORS: dict[str, type[Predictor]] = {predictor.task: predictor for predictor in (ClassPredictor, MaskPredictor)}


def save_predictor(predictor: Predictor, directory: Path) -> None:
    """Write model.json and model.safetensors, atomically, for `load`."""
    description = {
        "task": predictor.task,
        "architecture": predictor.network.architecture,
        "model_args": predictor.network.model_args,
        **predictor.describe(),
        "tta": predictor.tta,
        "inputs": asdict(predictor.preprocess),
    }
    tensors = {name: tensor.cpu().contiguous() for name, tensor in predictor.network.state_dict().items()}
    with atomic_directory(directory) as partial:
        save_file(tensors, partial / "model.safetensors")
        write_json(partial / "model.json", description)
        write_checksums(partial)


def find_model(run: str | Path) -> Path | None:
    """The directory of a fine-tuned model: the one given, or that of a run; None if there is none."""
    return next((d for d in (Path(run), RunDirectory(run).model) if (d / "model.json").is_file()), None)


def load(run: str | Path, *, device: str | torch.device = "cpu") -> Any:
    """The predictor of a fine-tuning run: `load(RUN).predict(image)`.

    run: the directory of the run, or its `model` directory. Raises UserError if there is none.
    """
    directory = find_model(run)
    if directory is None:
        raise UserError(f"{run}: no fine-tuned model found (no model/model.json); give the directory of a finished run")
    verify_checksums(directory)
    try:
        saved = json.loads((directory / "model.json").read_text())
        inputs = saved["inputs"]
        preprocess = Preprocessing(**inputs | {name: tuple(inputs[name]) for name in ("mean", "std")})
        model_args = saved.get("model_args")  # version 0.1 had none
        encoder = build_encoder(saved["architecture"], image_size=preprocess.image_size, model_args=model_args)
        predictor = _PREDICTORS[saved["task"]].restore(encoder, saved, preprocess=preprocess, tta=saved["tta"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{directory / 'model.json'} is damaged ({error}): fine-tune again") from error
    file = directory / "model.safetensors"
    try:
        predictor.network.load_state_dict(load_file(file))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise UserError(f"{file} cannot be loaded: {str(error).splitlines()[0]}") from error
    predictor.network.eval().to(device)
    return predictor
