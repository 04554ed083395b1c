"""Diseases, predicted."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gravis_triton.data.loader import Images, central_square_loader, collate_central_squares
from gravis_triton.evaluation.flips import predict_with_flips
from gravis_triton.prediction.inputs import InputSettings, Picture, finite, open_picture


class DiseasePredictor:
    """Probabilities of diseases, from the central square of a picture.

    network: images to logits (batch, classes). data_set: the name of the collection it learned from, whose challenge
    decides the columns of a submission. tta: average over the four flips.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        inputs: InputSettings,
        classes: Sequence[str],
        data_set: str,
        tta: bool = False,
    ) -> None:
        self.network, self.inputs, self.tta = network, inputs, tta
        self.classes, self.data_set = tuple(classes), data_set

    def predict(self, picture: Picture) -> dict[str, float]:
        """The probability of each disease. Raises UserError for what is no picture."""
        pixels = open_picture(picture, self.inputs.cache_size)
        probabilities = self._probabilities(collate_central_squares([pixels]))[0]
        return dict(zip(self.classes, probabilities.tolist(), strict=True))

    def predict_all(self, images: Images, indices: Sequence[int]) -> Tensor:
        """Probabilities (len(indices), classes), float32 on the CPU, of images of the cache."""
        loader = central_square_loader(images, indices, batch_size=128, workers=0)
        return torch.cat([self._probabilities(squares) for squares in loader])

    @torch.no_grad()
    def _probabilities(self, squares: Tensor) -> Tensor:
        training = self.network.training
        self.network.eval()
        device = next(self.network.parameters()).device
        inputs = self.inputs.squares(squares.to(device))

        def predict(views: Tensor) -> Tensor:
            return finite(self.network(views).float()).softmax(1)

        probabilities = predict_with_flips(predict, inputs, masks=False) if self.tta else predict(inputs)
        self.network.train(training)
        return probabilities.cpu()
