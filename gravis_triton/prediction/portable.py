"""A trained network as one module that needs only PyTorch: normalization, network, activation."""

from pathlib import Path

import torch
from torch import Tensor, nn

from gravis_triton.models import open_encoder
from gravis_triton.prediction.class_predictor import ClassPredictor
from gravis_triton.prediction.inputs import InputSettings
from gravis_triton.prediction.mask_predictor import MaskPredictor
from gravis_triton.prediction.saved_model import load
from gravis_triton.run_directory import RunDirectory


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
        inputs: InputSettings,
        *,
        output: str,
        classes: tuple[str, ...] = (),
        averages_flips: bool = False,
    ) -> None:
        super().__init__()
        self.averages_flips = averages_flips
        self.network, self.image_size, self.output, self.classes = network, inputs.image_size, output, classes
        self.activation = {
            "features": nn.Identity(),
            "class probabilities": nn.Softmax(1),
            "lesion probability": nn.Sigmoid(),
        }[output]
        self.register_buffer("mean", torch.tensor(inputs.mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(inputs.std).view(3, 1, 1))

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
        inputs = InputSettings.of(opened.encoder, image_size=size, cache_size=size)
        return Portable(opened.encoder, inputs, output="features").eval()
    predictor = load(path)
    if isinstance(predictor, MaskPredictor):
        return Portable(
            predictor.network,
            predictor.inputs,
            output="lesion probability",
            averages_flips=predictor.tta,
        ).eval()
    assert isinstance(predictor, ClassPredictor)
    return Portable(
        predictor.network,
        predictor.inputs,
        output="class probabilities",
        classes=predictor.classes,
        averages_flips=predictor.tta,
    ).eval()
