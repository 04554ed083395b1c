"""Fine-tune an encoder for lesion segmentation."""

from typing import Any

from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler

from gravis_triton.data import Collection
from gravis_triton.data.loading.loader import MaskBatch, mask_loader
from gravis_triton.evaluation import save_mask, segmentation_scores, write_mask_scores_csv
from gravis_triton.inference import MaskPredictor, compare_masks
from gravis_triton.models import OpenedEncoder, Preprocessing, Segmenter, build_segmenter
from gravis_triton.report import write_mask_cases
from gravis_triton.run_directory import RunDirectory
from gravis_triton.settings import SegmentationSettings
from gravis_triton.training import MaskLoss
from gravis_triton.views import LabeledView
from gravis_triton.workflows.annotated import AnnotatedData
from gravis_triton.workflows.finetune import FinetuneResult, Task, finetune


def finetune_segmentation(settings: SegmentationSettings) -> FinetuneResult:
    """Fine-tune an encoder for lesion segmentation; see `finetune`."""
    return finetune(settings, SegmentationTask(settings))


class SegmentationTask(Task):
    """Masks, a decoder on the feature pyramid, cross-entropy with Dice loss, and the ISIC challenges' mask scores."""

    name = "segmentation"
    annotation = "mask"
    test_scores = ("jaccard", "thresholded_jaccard", "dice", "accuracy", "sensitivity", "specificity")

    def __init__(self, settings: SegmentationSettings) -> None:
        self.decoder: str = settings.head.decoder

    def build_network(self, opened: OpenedEncoder, image_size: int, collection: Collection) -> Segmenter:
        network, tensors = build_segmenter(
            opened.encoder, architecture=opened.architecture, decoder=self.decoder, image_size=image_size
        )
        network.description = (
            f"decoder: {self.decoder}, on all {tensors} tensors of the encoder's feature pyramid"
        )
        return network

    def build_loss(self, data: AnnotatedData) -> nn.Module:
        return MaskLoss()

    def build_loader(self, data: AnnotatedData, batches: Sampler[list[int]], workers: int) -> DataLoader[Any]:
        assert data.masks is not None
        return mask_loader(data.images, data.masks, data.split.train, batches, workers=workers)

    def make_example(self, view: LabeledView, batch: MaskBatch) -> tuple[Tensor, Tensor]:
        return view.image_and_mask(batch.images, batch.image_sizes, batch.masks)

    def build_predictor(
        self, network: nn.Module, preprocess: Preprocessing, collection: Collection, *, tta: bool
    ) -> MaskPredictor:
        return MaskPredictor(network, preprocess=preprocess, tta=tta)

    def validate(self, predictor: MaskPredictor, data: AnnotatedData) -> dict[str, float]:
        compared = compare_masks(predictor, data.collection, data.images, data.split.validation)
        scores = segmentation_scores([case.scores for case in compared])
        return {"jaccard": scores.jaccard, "dice": scores.dice}

    def test(
        self, predictor: MaskPredictor, data: AnnotatedData, run: RunDirectory, *, caption: str
    ) -> dict[str, float]:
        indices, per_image = data.split.test, []
        for case in compare_masks(predictor, data.collection, data.images, indices):
            save_mask(run.masks, case.id, case.predicted)
            per_image.append(case.scores)
        tested = [data.collection.records[index] for index in indices]
        write_mask_scores_csv(
            run.predictions("image_scores.csv"),
            [record.id for record in tested],
            per_image,
            groups=[record.group for record in tested],
        )
        write_mask_cases(run, data.collection, data.images, indices, per_image, caption=caption)
        return segmentation_scores(per_image).flat()
