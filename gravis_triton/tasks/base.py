"""What every supervised task is: a network on a pre-trained encoder, its loss, its predictor and its scores."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import pyarrow as pa
import torch
from timm.models import group_parameters
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import DataLoader, Sampler

from gravis_triton.data import Annotation, CachedImages, Collection, Masks, Split
from gravis_triton.data.datasets.attributes import Attributes
from gravis_triton.errors import UserError
from gravis_triton.evaluation.features import predict_with_flips
from gravis_triton.models import Preprocessing, eval_mode, model_args
from gravis_triton.run_directory import RunDirectory
from gravis_triton.settings.jobs import FinetuneSettings
from gravis_triton.views import LabeledView


class FinetunedNetwork(nn.Module):
    """A network on a pre-trained encoder, which can be frozen.

    pretrained_cfg: timm's, with the normalization of the encoder's images. model_args: see `build_encoder`.
    description: of what is on top of the encoder, for the user.
    """

    description = ""
    frozen = ""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.pretrained_cfg: Any = encoder.pretrained_cfg
        self.model_args = model_args(encoder)

    @property
    def pretrained(self) -> nn.Module:
        """The part that was pre-trained."""
        raise NotImplementedError

    @property
    def architecture(self) -> str:
        """timm's name of the encoder's architecture."""
        return self.pretrained_cfg["architecture"]

    def freeze(self, part: Literal["encoder", "statistics"]) -> None:
        """Stop updating the weights of the encoder and the statistics of its BatchNorm, or only the statistics: it then
        normalizes by those of pre-training instead of those of each batch; its weights and biases are trained."""
        self.frozen = part
        if part == "encoder":
            self.pretrained.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if self.frozen == "encoder":
            self.pretrained.eval()
        elif self.frozen == "statistics":
            for module in self.pretrained.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self


def parameter_groups(
    network: FinetunedNetwork, encoder: nn.Module, *, weight_decay: float, layer_decay: float
) -> list[dict[str, Any]]:
    """Parameter groups for an optimizer, with the `lr_scale` that timm's schedules multiply the learning rate by.

    network: built on the encoder or its feature pyramid. encoder: the timm backbone, which defines the layers.
    The last of L encoder layers and everything on top have scale 1; layer l has layer_decay^(L - l) (BEiT, Bao et
    al., 2022, arXiv 2106.08254). Vectors (biases, normalization) have no weight decay; frozen parameters are in no
    group.
    Raises UserError for a layer_decay other than 1 if timm does not define the backbone's layers.
    """
    scales = _layer_scales(encoder, layer_decay) if layer_decay != 1 else None
    undecayed = {flat_name(name) for name in getattr(encoder, "no_weight_decay", set)()}
    inside = {id(parameter): flat_name(name) for name, parameter in network.pretrained.named_parameters()}
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for parameter in network.parameters():
        if not parameter.requires_grad:
            continue
        name = inside.get(id(parameter))
        scale = 1.0 if name is None or scales is None else scales[name]
        decay = 0.0 if parameter.ndim <= 1 or name in undecayed else weight_decay
        group = groups.setdefault((scale, decay), {"params": [], "lr_scale": scale, "weight_decay": decay})
        group["params"].append(parameter)
    return [groups[key] for key in sorted(groups)]


def _layer_scales(encoder: nn.Module, layer_decay: float) -> dict[str, float]:
    if not hasattr(encoder, "group_matcher"):
        model = encoder.pretrained_cfg["architecture"]  # type: ignore[index]
        raise UserError(
            f"--layer-decay {layer_decay} does not work with {model}, whose layers timm does not number: "
            "drop it or choose another model"
        )
    layers = group_parameters(encoder, encoder.group_matcher(coarse=False), reverse=True)  # type: ignore[operator]
    last = max(layers.values())
    return {flat_name(name): layer_decay ** (last - layer) for name, layer in layers.items()}


def flat_name(name: str) -> str:
    """A tensor's name, made the same for a backbone and its feature pyramid.

    timm renames a module `stages.0` to `stages_0` in a pyramid; otherwise the names agree.
    """
    return re.sub(r"^(model\.)?", "", name).replace(".", "_")


@dataclass(eq=False)
class Predictor(ABC):
    """A fine-tuned network that predicts whole images.

    task: its name. output: what it predicts, in words. collate: makes a batch of images as in the image cache.
    tta: average over the four flips of an image. classes: their names, in order, if it predicts classes.
    """

    task: ClassVar[str]
    output: ClassVar[str]
    collate: ClassVar[Callable[..., Any]]
    network: FinetunedNetwork
    _: KW_ONLY
    preprocess: Preprocessing
    tta: bool = False
    classes: tuple[str, ...] = ()

    @classmethod
    @abstractmethod
    def restore(cls, encoder: nn.Module, saved: Mapping[str, Any], *, preprocess: Preprocessing, tta: bool) -> Self:
        """The predictor that `describe` described, with an untrained network on an encoder."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """What `restore` needs, as JSON."""

    @abstractmethod
    def columns(self, files: Sequence[Path], batch: Any | None, directory: Path) -> dict[str, pa.Array]:
        """Columns of a table with a row for each image file of a batch; no rows and None if there is none.

        directory: for predictions that are files themselves.
        """

    @property
    def activation(self) -> nn.Module:
        """Turns the network's outputs into predictions."""
        return nn.Sigmoid()

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    def _predict(self, inputs: Tensor, *, masks: bool) -> Tensor:
        """Activated outputs of the network, float32 on the CPU. Raises UserError for NaN or infinity."""

        def predict(inputs: Tensor) -> Tensor:
            outputs = self.network(inputs).float()
            if not outputs.isfinite().all():
                raise UserError(
                    "the network's predictions are not finite: lower --lr, or train with --mixed-precision bf16 or no"
                )
            return self.activation(outputs)

        with eval_mode(self.network):
            return (predict_with_flips(predict, inputs, masks=masks) if self.tta else predict(inputs)).cpu()


@dataclass(frozen=True, slots=True)
class AnnotatedData:
    """Decoded images with their annotations. split: its training part is limited to the labels that are used.
    attributes: column -> image id -> value, of the columns whose subgroups are scored."""

    collection: Collection
    images: CachedImages
    masks: Masks | None
    split: Split
    attributes: Attributes = field(default_factory=dict)


class Task(nn.Module):
    """A supervised task, trained like a `Method`: `make_views`, `forward`, `after_step`.

    name: of the task. annotation: what its images need. main_scores: those of `test` to print. loss: of predictions and
    targets. train_indices: the training images of an epoch, in which some may be repeated. average: exponential moving
    average of the network's weights, with `--ema`. Its decay at step t is min(decay, 1 - t^(-2/3)) (timm's warm-up), so
    that a short run forgets its random initialization.
    """

    name: ClassVar[str]
    annotation: ClassVar[Annotation]
    main_scores: tuple[str, ...]
    loss: Callable[[Tensor, Tensor], Tensor]

    @staticmethod
    def build_network(encoder: nn.Module, settings: Any, collection: Collection) -> FinetunedNetwork:
        """The network on top of an encoder. settings: resolved."""
        raise NotImplementedError

    def __init__(self, network: FinetunedNetwork, data: AnnotatedData, settings: FinetuneSettings) -> None:
        super().__init__()
        assert settings.image_size is not None  # resolved
        preprocess = Preprocessing.of(network, image_size=settings.image_size, cache_size=settings.short_side)
        self.network, self.data, self.preprocess = network, data, preprocess
        self.train_indices: Sequence[int] = data.split.train
        self.view_maker = LabeledView(settings, size=preprocess.image_size, mean=preprocess.mean, std=preprocess.std)
        decay = settings.ema
        self.average = ModelEmaV3(network, decay=decay, use_warmup=True) if decay else None
        if self.average is not None:
            self.average.requires_grad_(False)

    @property
    def evaluated(self) -> Any:
        """The network to validate, save and test: the trained one or its moving average."""
        return self.network if self.average is None else self.average.module

    def train_loader(self, batches: Sampler[list[int]], workers: int) -> DataLoader[Any]:
        """The loader of the training images with their annotations."""
        raise NotImplementedError

    def make_views(self, batch: Any) -> tuple[Tensor, Tensor]:
        """One augmented view of each image of a batch, (batch, 3, size, size), and the targets of the loss."""
        raise NotImplementedError

    def forward(self, example: tuple[Tensor, Tensor], batch: Any, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        views, targets = example
        try:
            predictions = self.network(views)
        except ValueError as error:
            if "more than 1 value per channel" in str(error):
                raise UserError(
                    f"BatchNorm cannot train on {len(views)} image per step and process: use more labels "
                    "(--label-fraction), raise --batch-size, or launch fewer processes"
                ) from error
            raise
        with torch.autocast(views.device.type, enabled=False):
            return self.loss(predictions.float(), targets), {}

    def after_step(self, step: int, steps: int) -> None:
        if self.average is not None:
            self.average.update(self.network, step=step - 1)

    def predictor(self, *, tta: bool) -> Any:
        """A predictor with the evaluated network."""
        raise NotImplementedError

    def validate(self) -> dict[str, float]:
        """Scores on the validation set; the first that is not NaN selects the weights."""
        raise NotImplementedError

    def test(self, predictor: Any, run: RunDirectory, *, caption: str) -> dict[str, float]:
        """Scores on the test set; writes predictions, per-image scores and figures with the caption."""
        raise NotImplementedError
