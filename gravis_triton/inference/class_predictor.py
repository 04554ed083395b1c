"""Class probabilities of an image."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from gravis_triton.data.loading.loader import Images, central_square_loader, collate_central_squares
from gravis_triton.evaluation import Saliency, grad_cam, predict_with_flips
from gravis_triton.models import Classifier, ImageLike, Preprocessing, check_finite, eval_mode, open_image


class ClassPredictor:
    """Class probabilities from the central square of an image.

    network: images to logits (batch, classes). data_set: name of the collection it was trained on, which determines the
    submission format. tta: average over the four flips.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        preprocess: Preprocessing,
        classes: Sequence[str],
        data_set: str,
        tta: bool = False,
    ) -> None:
        self.network, self.preprocess, self.tta = network, preprocess, tta
        self.classes, self.data_set = tuple(classes), data_set

    def predict(self, image: ImageLike) -> dict[str, float]:
        """The probability of each class. Raises UserError for an image that cannot be read."""
        pixels = open_image(image, self.preprocess.cache_size)
        probabilities = self.probabilities(collate_central_squares([pixels]))[0]
        return dict(zip(self.classes, probabilities.tolist(), strict=True))

    def predict_all(self, images: Images, indices: Sequence[int]) -> Tensor:
        """Probabilities (len(indices), classes), float32 on the CPU, of the cached images `indices`."""
        loader = central_square_loader(images, indices, batch_size=128, workers=0)
        return torch.cat([self.probabilities(squares) for squares in loader])

    def probabilities(self, squares: Tensor) -> Tensor:
        """Probabilities (images, classes), float32 on the CPU, of central squares (images, 3, side, side) uint8."""

        def predict(inputs: Tensor) -> Tensor:
            return check_finite(self.network(inputs).float()).softmax(1)

        inputs = self.preprocess(squares.to(next(self.network.parameters()).device))
        with eval_mode(self.network):
            return (predict_with_flips(predict, inputs, masks=False) if self.tta else predict(inputs)).cpu()

    def saliency(self, squares: Tensor, classes: Tensor) -> Saliency | None:
        """Saliency map of a class for each of the central squares (images, 3, side, side) uint8; on the CPU.

        classes: (images,). None for an encoder without feature maps; see `grad_cam`.
        """
        device = next(self.network.parameters()).device
        inputs = self.preprocess(squares.to(device))
        with eval_mode(self.network):
            encoder = cast(Classifier, self.network).encoder
            found = grad_cam(self.network, encoder, inputs, classes.to(device))
        return None if found is None else Saliency(found.layer, found.maps.cpu())
