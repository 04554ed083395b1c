"""Base classes of photometric steps that process only the chosen samples of a batch, a few at a time."""

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

import torch
from kornia.augmentation import IntensityAugmentationBase2D
from torch import Tensor

_CPU_VALUES = 2**19  # values processed at a time on a CPU, so that temporaries stay in its cache
_NOT_PER_SAMPLE = ("batch_prob", "forward_input_shape", "order")


class ChosenSamples(IntensityAugmentationBase2D):
    """A kornia intensity augmentation that processes only the samples chosen by its probability.

    kornia processes every sample and then selects. Here `change` gets only the chosen samples, in cache-sized chunks on
    a CPU, with their parameters on their device. Mix it in before a kornia class; random draws and replay stay the same
    as in that class.

    Random numbers are drawn on the CPU for every device, so that choosing samples never waits for a GPU.
    """

    def set_rng_device_and_dtype(self, device: torch.device, dtype: torch.dtype) -> None:
        super().set_rng_device_and_dtype(torch.device("cpu"), torch.float32)

    @abstractmethod
    def change(self, images: Tensor, drawn: dict[str, Tensor]) -> Tensor:
        """The changed images, (samples, channels, height, width) float32; the input may be overwritten."""

    def transform_inputs(self, input: Tensor, params: dict[str, Tensor], *_: Any, **__: Any) -> Tensor:
        images = self.transform_tensor(input)
        self.validate_tensor(images)
        return self.transform_output_tensor(self._change_chosen_(images.clone(), params), input.shape)

    def apply_(self, images: Tensor) -> Tensor:
        """Apply the step to images (batch, channels, height, width) in place."""
        self._params = self.forward_parameters(images.shape)
        return self._change_chosen_(images, self._params)

    def _change_chosen_(self, images: Tensor, params: dict[str, Tensor]) -> Tensor:
        rows = self._gate(params).cpu().nonzero().squeeze(1)
        for chunk in _chunks(rows, images):
            drawn = {
                name: value if name in _NOT_PER_SAMPLE else value[chunk].to(images.device, non_blocking=True)
                for name, value in params.items()
                if isinstance(value, Tensor)
            }
            here = chunk if isinstance(chunk, slice) else chunk.to(images.device, non_blocking=True)
            images[here] = self.change(images[here].float(), drawn).to(images.dtype)  # free if changed in place
        return images


class PerSampleStep(ChosenSamples):
    """Base class of the steps of this package; subclasses implement `draw` and `change`, whose images are (samples, 3,
    height, width) in [0, 1], and find their settings in `flags`."""

    def __init__(self, p: float = 0.5, same_on_batch: bool = False, **flags: Any) -> None:
        super().__init__(p=p, same_on_batch=same_on_batch)
        self.flags = flags

    def draw(self, samples: int, height: int, width: int) -> dict[str, Tensor]:
        """Random parameters, each with one row per sample, on the CPU; none by default."""
        return {}

    def generate_parameters(self, batch_shape: tuple[int, ...]) -> dict[str, Tensor]:
        batch, height, width = batch_shape[0], batch_shape[-2], batch_shape[-1]
        drawn = self.draw(1 if self.same_on_batch else batch, height, width)
        return {name: value.expand(batch, *value.shape[1:]) for name, value in drawn.items()}


def uniform(samples: int, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Independent uniform draws in [low, high), (samples, *shape)."""
    return low + (high - low) * torch.rand(samples, *shape)


def log_uniform(samples: int, *shape: int, low: float, high: float) -> Tensor:
    """Independent log-uniform draws between low and high, (samples, *shape)."""
    return low * (high / low) ** torch.rand(samples, *shape)


def frame(images: Tensor) -> tuple[Tensor, Tensor]:
    """Coordinates of pixel centers from the upper left corner, in short sides: y (height, 1) and x (width,)."""
    y, x = ((torch.arange(side, device=images.device) + 0.5) / min(images.shape[-2:]) for side in images.shape[-2:])
    return y.unsqueeze(1), x


def planes(values: Tensor) -> Tensor:
    """Per-sample values (samples,) or (samples, channels), reshaped to broadcast over images."""
    return values.view(len(values), -1, 1, 1)


def _chunks(rows: Tensor, images: Tensor) -> Iterator[slice | Tensor]:
    """The chosen rows, in cache-sized chunks on a CPU, else all at once; as slices (no copies) if all are chosen."""
    if not len(rows):
        return
    chunk = max(1, _CPU_VALUES // images[0].numel()) if images.device.type == "cpu" else len(rows)
    if len(rows) == len(images):
        yield from (slice(first, first + chunk) for first in range(0, len(rows), chunk))
    else:
        yield from rows.split(chunk)
