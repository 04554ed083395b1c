"""Predict and score lesion masks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from gravis_triton.data.cache.pixels import native_mask
from gravis_triton.data.datasets.records import Collection
from gravis_triton.data.loading.loader import ImageBatch, Images, collate_images, whole_image_loader
from gravis_triton.evaluation import MaskScores, mask_scores, predict_with_flips, resize_probability
from gravis_triton.models import ImageLike, Preprocessing, check_finite, eval_mode, native_size, open_image


class MaskPredictor:
    """Lesion masks from the whole image, resized to a square.

    network: images to logits (batch, 1, size, size). tta: average over the four flips.
    """

    def __init__(self, network: nn.Module, *, preprocess: Preprocessing, tta: bool = False) -> None:
        self.network, self.preprocess, self.tta = network, preprocess, tta

    def predict(self, image: ImageLike) -> np.ndarray:
        """The lesion mask, bool (height, width) at the native size of the image.

        Raises UserError for an image that cannot be read.
        """
        batch = collate_images([open_image(image, self.preprocess.cache_size)])
        return resize_probability(self.probabilities(batch)[0], native_size(image)).numpy()

    def predict_all(self, images: Images, indices: Sequence[int]) -> Iterator[Tensor]:
        """The lesion probability (size, size), float32 on the CPU, of each of the cached images `indices`."""
        for batch in whole_image_loader(images, indices, batch_size=64, workers=0):
            yield from self.probabilities(batch)

    def probabilities(self, batch: ImageBatch) -> Tensor:
        """Lesion probabilities (images, size, size), float32 on the CPU, of whole images."""

        def predict(inputs: Tensor) -> Tensor:
            return check_finite(self.network(inputs).float()).sigmoid()[:, 0]

        device = next(self.network.parameters()).device
        images = [
            image[None, :, :height, :width].to(device)
            for image, (height, width) in zip(batch.images, batch.image_sizes.tolist(), strict=True)
        ]
        inputs = torch.cat([self.preprocess(image) for image in images])
        with eval_mode(self.network):
            return (predict_with_flips(predict, inputs, masks=True) if self.tta else predict(inputs)).cpu()


@dataclass(frozen=True, slots=True)
class ComparedMask:
    """A predicted mask, bool (height, width) at the native size of the true mask, and its scores."""

    id: str
    predicted: Tensor
    scores: MaskScores


def compare_masks(
    predictor: MaskPredictor, collection: Collection, images: Images, indices: Sequence[int]
) -> Iterator[ComparedMask]:
    """Compare each predicted mask with the true mask, at the native size of the true mask, as the challenges do."""
    probabilities = predictor.predict_all(images, indices)
    for index, probability in zip(indices, probabilities, strict=True):
        record = collection.records[index]
        truth = torch.from_numpy(native_mask(record)) > 0
        predicted = resize_probability(probability, (truth.shape[0], truth.shape[1]))
        yield ComparedMask(record.id, predicted, mask_scores(predicted, truth))
