"""Disease classification: a linear classifier, weighted cross-entropy, and the ISIC challenges' scores."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from itertools import chain, cycle, islice
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler

from gravis_triton.data import Collection
from gravis_triton.data.loading.loader import (
    Images,
    LabeledBatch,
    central_square_loader,
    collate_central_squares,
    labeled_loader,
)
from gravis_triton.evaluation.classification import classification_scores
from gravis_triton.evaluation.prediction_files import write_class_predictions
from gravis_triton.evaluation.saliency import Saliency, grad_cam
from gravis_triton.models import ImageLike, Preprocessing, eval_mode, feature_dim, open_image
from gravis_triton.report.classification import write_class_cases, write_class_figures
from gravis_triton.run_directory import RunDirectory
from gravis_triton.settings.jobs import ClassificationSettings
from gravis_triton.tasks.base import AnnotatedData, FinetunedNetwork, Predictor, Task


class Classifier(FinetunedNetwork):
    """Images (batch, 3, size, size) to logits (batch, classes): encoder, dropout, one linear layer."""

    def __init__(self, encoder: nn.Module, *, classes: int, dropout: float = 0.0) -> None:
        super().__init__(encoder)
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(feature_dim(encoder), classes)

    @property
    def pretrained(self) -> nn.Module:
        return self.encoder

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.dropout(self.encoder(images)))


class ClassLoss(nn.Module):
    """Cross-entropy of logits (batch, classes) and labels (batch,) int64, optionally weighted against class imbalance.

    Labels (batch, classes) of 0 and 1 make it the binary cross-entropy: the same for each class as a decision
    between 0, whose logit is 0, and 1.

    kind: "plain": the mean of -log p, p the probability of the true class.
    "balanced": the mean of -w log p over the sum of w, where w = n / (classes x n_c) for n training images of which
        n_c are of the true class c.
    "focal": as "balanced", each term times (1 - p)^2 (Lin et al., 2017, arXiv 1708.02002, gamma 2).
    counts: (classes,) training images of each class, or (classes, 2) without and with it; none have weight 0.
    """

    def __init__(self, kind: str, counts: Tensor) -> None:
        super().__init__()
        self.kind = kind
        images = counts.sum(-1, keepdim=True)
        balanced = torch.where(counts > 0, images / (counts.shape[-1] * counts.clamp(min=1)), 0.0)
        self.weight = nn.Buffer(torch.ones(counts.shape) if kind == "plain" else balanced.float())

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        if labels.ndim == 2:
            logits = torch.stack([torch.zeros_like(logits), logits], dim=-1)
        true = labels.unsqueeze(-1)
        log_p = F.log_softmax(logits, -1).gather(-1, true).squeeze(-1)
        weight = self.weight.expand_as(logits).gather(-1, true).squeeze(-1)
        hardness = (1 - log_p.exp()) ** 2 if self.kind == "focal" else torch.ones_like(log_p)
        return -(weight * hardness * log_p).sum() / weight.sum()


def repeat_rare_classes(images: Sequence[int], labels: Sequence[Sequence[int]], fraction: float) -> list[int]:
    """The images, followed by repetitions of those of classes that are fewer than this fraction of them, up to it; all
    images of a class are repeated equally often, or once more. labels: the classes of each image."""
    of_class = defaultdict(list)
    for image, classes in zip(images, labels, strict=True):
        for label in classes:
            of_class[label].append(image)
    fewest = int(fraction * len(images))
    missing = [islice(cycle(same), max(0, fewest - len(same))) for same in of_class.values()]
    return [*images, *chain.from_iterable(missing)]


@dataclass(eq=False)
class ClassPredictor(Predictor):
    """Class probabilities from the central square of an image.

    network: images to logits (batch, classes). data_set: name of the collection it was trained on, which determines the
    submission format. multilabel: a sigmoid for each class instead of a softmax.
    """

    task = "classification"
    output = "class probabilities"
    collate = staticmethod(collate_central_squares)
    network: Classifier
    _: KW_ONLY
    data_set: str
    multilabel: bool = False

    @property
    def activation(self) -> nn.Module:
        return nn.Sigmoid() if self.multilabel else nn.Softmax(1)

    @classmethod
    def restore(cls, encoder: nn.Module, saved: Mapping[str, Any], *, preprocess: Preprocessing, tta: bool) -> Self:
        own = {"data_set": saved["data_set"], "multilabel": saved.get("multilabel", False)}
        network, classes = Classifier(encoder, classes=len(saved["classes"])), tuple(saved["classes"])
        return cls(network, preprocess=preprocess, tta=tta, classes=classes, **own)

    def describe(self) -> dict[str, Any]:
        return {"classes": self.classes, "data_set": self.data_set, "multilabel": self.multilabel}

    def predict(self, image: ImageLike) -> dict[str, float]:
        """The probability of each class. Raises UserError for an image that cannot be read."""
        squares = collate_central_squares([open_image(image, self.preprocess.cache_size)])
        return dict(zip(self.classes, self.probabilities(squares)[0].tolist(), strict=True))

    def predict_all(self, images: Images, indices: Sequence[int]) -> Tensor:
        """Probabilities (len(indices), classes), float32 on the CPU, of the cached images `indices`."""
        loader = central_square_loader(images, indices, batch_size=128, workers=0)
        return torch.cat([self.probabilities(squares) for squares in loader])

    def probabilities(self, squares: Tensor) -> Tensor:
        """Probabilities (images, classes), float32 on the CPU, of central squares (images, 3, side, side) uint8."""
        return self._predict(self.preprocess(squares.to(self.device)), masks=False)

    def columns(self, files: Sequence[Path], batch: Tensor | None, directory: Path) -> dict[str, pa.Array]:
        """The probability of each class."""
        rows = torch.empty(0, len(self.classes)) if batch is None else self.probabilities(batch)
        return {name: pa.array(rows[:, index].numpy()) for index, name in enumerate(self.classes)}

    def saliency(self, squares: Tensor, classes: Tensor) -> Saliency | None:
        """Saliency map of a class for each of the central squares (images, 3, side, side) uint8; on the CPU.

        classes: (images,). None for an encoder without feature maps; see `grad_cam`.
        """
        inputs = self.preprocess(squares.to(self.device))
        with eval_mode(self.network):
            saliency = grad_cam(self.network, self.network.encoder, inputs, classes.to(self.device))
        return None if saliency is None else Saliency(saliency.layer, saliency.maps.cpu())


class ClassificationTask(Task):
    """Labels, a linear classifier, cross-entropy, and the ISIC challenges' classification scores."""

    name = "classification"
    annotation = "label"
    main_scores: tuple[str, ...] = (
        "mean_auc", "balanced_accuracy", "mean_average_precision", "expected_calibration_error"
    )  # fmt: skip

    @staticmethod
    def build_network(encoder: nn.Module, settings: ClassificationSettings, collection: Collection) -> Classifier:
        return Classifier(encoder, classes=len(collection.classes), dropout=settings.dropout)

    def __init__(self, network: Classifier, data: AnnotatedData, settings: ClassificationSettings) -> None:
        super().__init__(network, data, settings)
        train, collection = data.split.train, data.collection
        classes = [collection.records[index].classes for index in train]
        self.train_indices = repeat_rare_classes(train, classes, settings.oversample)
        labels = torch.tensor(collection.labels(self.train_indices))
        if collection.multilabel:
            self.main_scores += tuple(f"auc_{name}" for name in collection.classes)
            counts = torch.stack([(labels == 0).sum(0), labels.sum(0)], dim=1)
        else:
            counts = torch.bincount(labels, minlength=len(collection.classes))
        self.loss = ClassLoss(settings.class_loss, counts)

    def train_loader(self, batches: Sampler[list[int]], workers: int) -> DataLoader[LabeledBatch]:
        data = self.data
        return labeled_loader(data.images, data.collection, self.train_indices, batches, workers=workers)

    def make_views(self, batch: LabeledBatch) -> tuple[Tensor, Tensor]:
        return self.view_maker(batch.images, batch.image_sizes), batch.labels

    def predictor(self, *, tta: bool) -> ClassPredictor:
        collection = self.data.collection
        return ClassPredictor(
            self.evaluated,
            preprocess=self.preprocess,
            classes=collection.classes,
            data_set=collection.name,
            tta=tta,
            multilabel=collection.multilabel,
        )

    def validate(self) -> dict[str, float]:
        collection, indices = self.data.collection, self.data.split.validation
        probabilities = self.predictor(tta=False).predict_all(self.data.images, indices)
        labels, classes, scored = collection.labels(indices), collection.classes, collection.scored_classes
        scores = classification_scores(probabilities, labels, classes=classes, scored=scored)
        return {"mean_auc": scores.mean_auc, "balanced_accuracy": scores.balanced_accuracy}

    def test(self, predictor: ClassPredictor, run: RunDirectory, *, caption: str) -> dict[str, float]:
        collection, images, indices = self.data.collection, self.data.images, self.data.split.test
        probabilities = predictor.predict_all(images, indices)
        write_class_cases(run, collection, images, indices, probabilities, predictor.saliency, caption=caption)
        scores = write_class_predictions(run, collection, indices, probabilities)
        write_class_figures(run, scores, probabilities, collection.labels(indices), caption=caption)
        return scores.flat()
