"""Fine-tune an encoder for disease classification."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler

from gravis_triton.data import Collection
from gravis_triton.data.loading.loader import LabeledBatch, labeled_loader
from gravis_triton.evaluation import classification_scores
from gravis_triton.inference import ClassPredictor
from gravis_triton.models import Classifier, OpenedEncoder, Preprocessing
from gravis_triton.report import write_class_cases, write_class_predictions
from gravis_triton.run_directory import RunDirectory
from gravis_triton.settings import ClassificationSettings
from gravis_triton.training import ClassLoss
from gravis_triton.views import LabeledView
from gravis_triton.workflows.annotated import AnnotatedData
from gravis_triton.workflows.finetune import FinetuneResult, Task, finetune


def finetune_classification(settings: ClassificationSettings) -> FinetuneResult:
    """Fine-tune an encoder for disease classification; see `finetune`."""
    return finetune(settings, ClassificationTask(settings))


class ClassificationTask(Task):
    """Labels, a linear classifier, cross-entropy, and the ISIC challenges' classification scores."""

    name = "classification"
    annotation = "label"
    test_scores = ("mean_auc", "balanced_accuracy", "mean_average_precision", "expected_calibration_error")

    def __init__(self, settings: ClassificationSettings) -> None:
        self.settings = settings.head

    def build_network(self, opened: OpenedEncoder, image_size: int, collection: Collection) -> Classifier:
        return Classifier(opened.encoder, classes=len(collection.classes), dropout=self.settings.dropout)

    def build_loss(self, data: AnnotatedData) -> nn.Module:
        labels = torch.tensor(data.labels(data.split.train))
        return ClassLoss(
            self.settings.class_loss, torch.bincount(labels, minlength=len(data.collection.classes))
        )

    def build_loader(self, data: AnnotatedData, batches: Sampler[list[int]], workers: int) -> DataLoader[Any]:
        return labeled_loader(data.images, data.collection, data.split.train, batches, workers=workers)

    def make_example(self, view: LabeledView, batch: LabeledBatch) -> tuple[Tensor, Tensor]:
        return view(batch.images, batch.image_sizes), batch.labels

    def build_predictor(
        self, network: nn.Module, preprocess: Preprocessing, collection: Collection, *, tta: bool
    ) -> ClassPredictor:
        return ClassPredictor(
            network, preprocess=preprocess, classes=collection.classes, data_set=collection.name, tta=tta
        )

    def validate(self, predictor: ClassPredictor, data: AnnotatedData) -> dict[str, float]:
        scores = classification_scores(
            predictor.predict_all(data.images, data.split.validation),
            data.labels(data.split.validation),
            classes=data.collection.classes,
            scored=data.collection.scored_classes,
        )
        return {"mean_auc": scores.mean_auc, "balanced_accuracy": scores.balanced_accuracy}

    def test(
        self, predictor: ClassPredictor, data: AnnotatedData, run: RunDirectory, *, caption: str
    ) -> dict[str, float]:
        indices = data.split.test
        probabilities = predictor.predict_all(data.images, indices)
        write_class_cases(
            run, data.collection, data.images, indices, probabilities, predictor.saliency, caption=caption
        )
        return write_class_predictions(run, data.collection, indices, probabilities, caption=caption).flat()
