"""Lesion segmentation: a decoder on the feature pyramid, cross-entropy with Dice loss, and the challenges' scores."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler

from gravis_triton.data import Collection, Record, native_mask
from gravis_triton.data.loading.loader import (
    ImageBatch,
    Images,
    MaskBatch,
    collate_images,
    mask_loader,
    whole_image_loader,
)
from gravis_triton.errors import UserError
from gravis_triton.evaluation.prediction_files import save_mask, write_mask_scores_csv
from gravis_triton.evaluation.segmentation import MaskScores, mask_scores, resize_probability, segmentation_scores
from gravis_triton.models import ImageLike, Preprocessing, eval_mode, native_size, open_image
from gravis_triton.report.segmentation import write_mask_cases
from gravis_triton.run_directory import RunDirectory
from gravis_triton.settings.jobs import SegmentationSettings
from gravis_triton.tasks.base import FinetunedNetwork, Predictor, Task, flat_name


class Segmenter(FinetunedNetwork):
    """Images (batch, 3, size, size) to lesion logits (batch, 1, size, size).

    network: segmentation-models-pytorch's decoder and segmentation head on a timm backbone as a feature pyramid, whose
    tensors are copied from the encoder. decoder: unet, unetplusplus, deeplabv3plus or fpn.
    Raises UserError for a backbone without a feature pyramid, an unsupported image size, and an encoder that lacks a
    tensor of the pyramid.
    """

    def __init__(self, encoder: nn.Module, *, decoder: str, image_size: int) -> None:
        super().__init__(encoder)
        self.decoder = decoder
        if image_size % 32:
            near = max(32, round(image_size / 32) * 32)
            raise UserError(f"--image-size {image_size}: segmentation needs a multiple of 32, e.g. {near}")
        try:
            self.network = self._build(image_size)
            tensors = copy_encoder(encoder, self.pretrained)
            with eval_mode(self):
                logits = self(torch.zeros(1, 3, image_size, image_size))
            if logits.shape != (1, 1, image_size, image_size):
                raise ValueError(f"its logits have shape {tuple(logits.shape)}")
        except UserError:
            raise
        except Exception as error:  # of any kind, from timm's and smp's many networks
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise UserError(
                f"--decoder {decoder} does not work with {self.architecture} at {image_size} px ({reason}); "
                "resnet, efficientnet, convnext and swin backbones have the feature pyramid that it needs"
            ) from error
        self.description = f"decoder: {decoder}, on all {tensors} tensors of the encoder's feature pyramid"

    @property
    def pretrained(self) -> nn.Module:
        return self.network.encoder.model  # type: ignore[union-attr,return-value]

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images)

    def _build(self, image_size: int) -> nn.Module:
        arguments = {name: value for name, value in self.model_args.items() if name not in ("global_pool", "in_chans")}
        arguments |= {"encoder_name": f"tu-{self.architecture}", "encoder_weights": None, "classes": 1}
        try:  # as in `create_backbone`
            return smp.create_model(self.decoder, **arguments, img_size=image_size)
        except TypeError:
            return smp.create_model(self.decoder, **arguments)


@torch.no_grad()
def copy_encoder(encoder: nn.Module, pyramid: nn.Module) -> int:
    """Copy every tensor of timm's feature pyramid from the encoder; returns the number of tensors.

    Raises UserError if a tensor is missing or has another shape.
    """
    known = {flat_name(name): tensor for name, tensor in encoder.state_dict().items()}
    expected = pyramid.state_dict()
    for name, tensor in expected.items():
        source = known.get(flat_name(name))
        if source is None or source.shape != tensor.shape:
            shared = sum(flat_name(name) in known for name in expected)
            raise UserError(
                f"the encoder has only {shared} of {len(expected)} tensors of the segmentation network's encoder: "
                f"{name} {'is missing' if source is None else 'has another shape'}"
            )
        tensor.copy_(source)
    return len(expected)


def mask_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Mean binary cross-entropy of the pixels plus 1 - (2 sum(p m) + 1) / (sum(p) + sum(m) + 1), the smoothed Dice
    loss over all pixels of the batch; p: probabilities, m: masks.

    logits, masks: (batch, 1, height, width), masks 0 or 1. A batch without any lesion pixel has no Dice term.
    """
    dice = smp.losses.DiceLoss("binary", smooth=0.5)  # half of the 1 in the formula
    return F.binary_cross_entropy_with_logits(logits, masks) + dice(logits, masks)


@dataclass(eq=False)
class MaskPredictor(Predictor):
    """Lesion masks from the whole image, resized to a square.

    network: images to logits (batch, 1, size, size). tta: average over the four flips.
    """

    task = "segmentation"
    output = "lesion probability"
    collate = staticmethod(collate_images)
    network: Segmenter

    @classmethod
    def restore(cls, encoder: nn.Module, saved: Mapping[str, Any], *, preprocess: Preprocessing, tta: bool) -> Self:
        network = Segmenter(encoder, decoder=saved["decoder"], image_size=preprocess.image_size)
        return cls(network, preprocess=preprocess, tta=tta)

    def describe(self) -> dict[str, Any]:
        return {"decoder": self.network.decoder}

    def predict(self, image: ImageLike) -> np.ndarray:
        """The lesion mask, bool (height, width) at the native size of the image.

        Raises UserError for an image that cannot be read.
        """
        batch = collate_images([open_image(image, self.preprocess.cache_size)])
        return resize_probability(self.probabilities(batch)[0], native_size(image)).numpy()

    def probabilities(self, batch: ImageBatch) -> Tensor:
        """Lesion probabilities (images, size, size), float32 on the CPU, of whole images."""
        images = [
            image[None, :, :height, :width].to(self.device)
            for image, (height, width) in zip(batch.images, batch.image_sizes.tolist(), strict=True)
        ]
        inputs = torch.cat([self.preprocess(image) for image in images])
        return self._predict(inputs, masks=True)[:, 0]

    def columns(self, files: Sequence[Path], batch: ImageBatch | None, directory: Path) -> dict[str, pa.Array]:
        """mask (its file in `directory`), and lesion_fraction of the image."""

        def write(file: Path, probability: Tensor) -> tuple[str, float]:
            mask = resize_probability(probability, native_size(file))
            return save_mask(directory, file.stem, mask).name, mask.float().mean().item()

        probabilities = [] if batch is None else list(self.probabilities(batch))
        with ThreadPoolExecutor() as threads:  # resizing and encoding large masks take as long as the network
            written = list(threads.map(write, files, probabilities))
        return {
            "mask": pa.array([name for name, _ in written], pa.string()),
            "lesion_fraction": pa.array([fraction for _, fraction in written], pa.float32()),
        }

    def compare(
        self, collection: Collection, images: Images, indices: Sequence[int]
    ) -> Iterator[tuple[Record, Tensor, MaskScores]]:
        """The record, the predicted mask, bool (height, width) at the native size of the true mask, and its scores, as
        the challenges compute them, of each of the cached images `indices`."""
        batches = whole_image_loader(images, indices, batch_size=64, workers=0)
        probabilities = (probability for batch in batches for probability in self.probabilities(batch))
        for index, probability in zip(indices, probabilities, strict=True):
            record = collection.records[index]
            truth = torch.from_numpy(native_mask(record)) > 0
            predicted = resize_probability(probability, (truth.shape[0], truth.shape[1]))
            yield record, predicted, mask_scores(predicted, truth)


class SegmentationTask(Task):
    """Masks, a decoder on the feature pyramid, cross-entropy with Dice loss, and the ISIC challenges' mask scores."""

    name = "segmentation"
    annotation = "mask"
    main_scores = ("jaccard", "thresholded_jaccard", "dice", "accuracy", "sensitivity", "specificity")
    loss = staticmethod(mask_loss)

    @staticmethod
    def build_network(encoder: nn.Module, settings: SegmentationSettings, collection: Collection) -> Segmenter:
        assert settings.image_size is not None  # resolved
        return Segmenter(encoder, decoder=settings.decoder, image_size=settings.image_size)

    def train_loader(self, batches: Sampler[list[int]], workers: int) -> DataLoader[MaskBatch]:
        data = self.data
        assert data.masks is not None
        return mask_loader(data.images, data.masks, data.split.train, batches, workers=workers)

    def make_views(self, batch: MaskBatch) -> tuple[Tensor, Tensor]:
        return self.view_maker.image_and_mask(batch.images, batch.image_sizes, batch.masks)

    def predictor(self, *, tta: bool) -> MaskPredictor:
        return MaskPredictor(self.evaluated, preprocess=self.preprocess, tta=tta)

    def validate(self) -> dict[str, float]:
        data = self.data
        compared = self.predictor(tta=False).compare(data.collection, data.images, data.split.validation)
        scores = segmentation_scores([own for _, _, own in compared])
        return {name: scores[name] for name in ("jaccard", "dice")}

    def test(self, predictor: MaskPredictor, run: RunDirectory, *, caption: str) -> dict[str, float]:
        collection, images, indices = self.data.collection, self.data.images, self.data.split.test
        records, scores = [], []
        for record, predicted, own in predictor.compare(collection, images, indices):
            save_mask(run.masks, record.id, predicted)
            records.append(record)
            scores.append(own)
        write_mask_scores_csv(run.predictions("image_scores.csv"), records, scores)
        write_mask_cases(run, collection, images, indices, scores, caption=caption)
        return segmentation_scores(scores)
