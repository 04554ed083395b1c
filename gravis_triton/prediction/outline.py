"""Lesion masks, predicted."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from gravis_triton.data.loader import Images, whole_image_loader
from gravis_triton.data.masks import native_mask
from gravis_triton.data.records import Collection
from gravis_triton.evaluation.flips import predict_with_flips
from gravis_triton.evaluation.segmentation import MaskScores, mask_scores, resize_probability
from gravis_triton.prediction.inputs import InputSettings, Picture, finite, native_size, open_picture


class MaskPredictor:
    """Masks of lesions, from the whole picture squeezed into a square.

    network: images to logits (batch, 1, size, size). tta: average over the four flips.
    """

    def __init__(self, network: nn.Module, *, inputs: InputSettings, tta: bool = False) -> None:
        self.network, self.inputs, self.tta = network, inputs, tta

    def predict(self, picture: Picture) -> np.ndarray:
        """The lesion, bool (height, width) at the picture's own size. Raises UserError for what is no picture."""
        pixels = open_picture(picture, self.inputs.cache_size)
        whole = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None]
        return resize_probability(self._probabilities([whole])[0], native_size(picture)).numpy()

    def predict_all(self, images: Images, indices: Sequence[int]) -> Iterator[Tensor]:
        """The lesion probability (size, size), float32 on the CPU, of each of some images of the cache."""
        for batch in whole_image_loader(images, indices, batch_size=64, workers=0):
            sizes = batch.extents.tolist()
            yield from self._probabilities(
                [
                    image[None, :, :height, :width]
                    for image, (height, width) in zip(batch.images, sizes, strict=True)
                ]
            )

    @torch.no_grad()
    def _probabilities(self, pictures: Sequence[Tensor]) -> Tensor:
        training = self.network.training
        self.network.eval()
        device = next(self.network.parameters()).device
        inputs = torch.cat([self.inputs.squares(picture.to(device)) for picture in pictures])

        def predict(views: Tensor) -> Tensor:
            return finite(self.network(views).float()).sigmoid()[:, 0]

        probabilities = predict_with_flips(predict, inputs, masks=True) if self.tta else predict(inputs)
        self.network.train(training)
        return probabilities.cpu()


@dataclass(frozen=True, slots=True)
class ComparedMask:
    """The predicted lesion of an image, bool (height, width) at the size of its true mask, and how good it is."""

    id: str
    predicted: Tensor
    scores: MaskScores


def compare_masks(
    predictor: MaskPredictor, collection: Collection, images: Images, indices: Sequence[int]
) -> Iterator[ComparedMask]:
    """Each predicted mask against the true one of its record, at that one's native size, as the challenges score."""
    probabilities = predictor.predict_all(images, indices)
    for index, probability in zip(indices, probabilities, strict=True):
        record = collection.records[index]
        truth = torch.from_numpy(native_mask(record)) > 0
        predicted = resize_probability(probability, (truth.shape[0], truth.shape[1]))
        yield ComparedMask(record.id, predicted, mask_scores(predicted, truth))
