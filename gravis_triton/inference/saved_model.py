"""Save and load fine-tuned networks."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from gravis_triton.checksums import check_whole, write_checksums
from gravis_triton.errors import UserError
from gravis_triton.files import atomic_directory, write_json
from gravis_triton.inference.class_predictor import ClassPredictor
from gravis_triton.inference.mask_predictor import MaskPredictor
from gravis_triton.models import Classifier, FinetunedNetwork, Preprocessing, build_encoder, build_segmenter

Predictor = ClassPredictor | MaskPredictor


def save_predictor(
    predictor: Predictor,
    directory: Path,
    *,
    architecture: str,
    decoder: str | None,
    model_args: Mapping[str, Any] | None = None,
) -> None:
    """Write model.json and model.safetensors, atomically, for `load`.

    architecture: timm name of the encoder. decoder: name of a mask predictor's decoder. model_args: as in
    `build_encoder`.
    """
    description = {
        "task": "classification" if isinstance(predictor, ClassPredictor) else "segmentation",
        "architecture": architecture,
        "model_args": dict(model_args or {}),
        "decoder": decoder,
        "classes": predictor.classes if isinstance(predictor, ClassPredictor) else [],
        "data_set": predictor.data_set if isinstance(predictor, ClassPredictor) else None,
        "tta": predictor.tta,
        "inputs": asdict(predictor.preprocess),
    }
    tensors = {name: tensor.cpu().contiguous() for name, tensor in predictor.network.state_dict().items()}
    with atomic_directory(directory) as partial:
        save_file(tensors, partial / "model.safetensors")
        write_json(partial / "model.json", description)
        write_checksums(partial)


def load(run: str | Path, *, device: str | torch.device = "cpu") -> Predictor:
    """The predictor of a fine-tuning run: `load(RUN).predict(image)`.

    run: the directory of the run, or its `model` directory. Raises UserError if there is none.
    """
    directory = next((d for d in (Path(run), Path(run) / "model") if (d / "model.json").is_file()), None)
    if directory is None:
        raise UserError(
            f"{run}: no fine-tuned model found (no model/model.json); give the directory of a finished run"
        )
    check_whole(directory)
    try:
        description = json.loads((directory / "model.json").read_text())
        preprocess = Preprocessing(**{name: _plain(value) for name, value in description["inputs"].items()})
        network = _network(description, preprocess.image_size)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{directory / 'model.json'} is damaged ({error}): fine-tune again") from error
    file = directory / "model.safetensors"
    try:
        network.load_state_dict(load_file(file))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise UserError(f"{file} cannot be loaded: {str(error).splitlines()[0]}") from error
    network = network.eval().to(device)
    if description["task"] == "segmentation":
        return MaskPredictor(network, preprocess=preprocess, tta=description["tta"])
    return ClassPredictor(
        network,
        preprocess=preprocess,
        classes=description["classes"],
        data_set=description["data_set"],
        tta=description["tta"],
    )


def _network(description: dict[str, Any], image_size: int) -> FinetunedNetwork:
    architecture = description["architecture"]
    model_args = description.get("model_args")  # version 0.1 had none
    encoder = build_encoder(architecture, image_size=image_size, model_args=model_args)
    if description["task"] == "segmentation":
        decoder = description["decoder"]
        return build_segmenter(encoder, architecture=architecture, decoder=decoder, image_size=image_size)[0]
    return Classifier(encoder, classes=len(description["classes"]))


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
