import torch
from torch import nn

from gravis_triton.evaluation.flips import FlipAveraged, predict_with_flips
from gravis_triton.models import normalization


def test_an_equivariant_mask_prediction_is_not_changed_by_flips():
    images = torch.rand(2, 3, 4, 6, generator=torch.manual_seed(0))
    mean = predict_with_flips(lambda x: x.mean(1, keepdim=True), images, masks=True)
    torch.testing.assert_close(mean, images.mean(1, keepdim=True))


def test_masks_are_flipped_back_before_they_are_averaged():
    # a predictor that finds lesion in the upper left pixel alone, whatever it is shown: once in each corner
    def upper_left(images: torch.Tensor) -> torch.Tensor:
        found = torch.zeros(len(images), 1, *images.shape[2:])
        found[..., 0, 0] = 1
        return found

    mean = predict_with_flips(upper_left, torch.rand(1, 3, 3, 4), masks=True)
    corners = [[0.25, 0, 0, 0.25], [0, 0, 0, 0], [0.25, 0, 0, 0.25]]
    assert mean[0, 0].tolist() == corners


def test_class_probabilities_are_the_mean_of_the_four_views():
    # reads the upper left pixel: the four flips show it each corner in turn
    image = torch.zeros(1, 3, 2, 3)
    image[0, :, 0, 0], image[0, :, 0, 2], image[0, :, 1, 0], image[0, :, 1, 2] = 0.1, 0.2, 0.4, 0.9
    seen = predict_with_flips(lambda x: x[:, :2, 0, 0], image, masks=False)
    torch.testing.assert_close(seen, torch.full((1, 2), (0.1 + 0.2 + 0.4 + 0.9) / 4))


def test_averaged_features_do_not_change_when_an_image_is_flipped():
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(3 * 4 * 6, 5))
    encoder.pretrained_cfg = {"mean": (0.25,) * 3, "std": (0.5,) * 3}
    averaged = FlipAveraged(encoder)
    images = torch.rand(2, 3, 4, 6, generator=torch.manual_seed(0))
    torch.testing.assert_close(averaged(images), averaged(images.flip(-1)))
    assert not torch.allclose(encoder(images), encoder(images.flip(-1)))
    assert normalization(averaged) == ((0.25,) * 3, (0.5,) * 3)
