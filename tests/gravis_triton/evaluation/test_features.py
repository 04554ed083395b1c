import numpy as np
import pytest
import torch
from torch import nn

from gravis_triton.evaluation.features import (
    ColorHistogram,
    FlipAveraged,
    extract_features,
    predict_with_flips,
)
from gravis_triton.models import normalization


def test_flips_do_not_change_an_equivariant_prediction():
    images = torch.rand(2, 3, 4, 6, generator=torch.manual_seed(0))
    mean = predict_with_flips(lambda x: x.mean(1, keepdim=True), images, masks=True)
    torch.testing.assert_close(mean, images.mean(1, keepdim=True))


def test_masks_are_flipped_back_before_averaging():
    # a predictor that finds lesion in the upper left pixel alone, whatever it is shown: once in each corner
    def upper_left(images: torch.Tensor) -> torch.Tensor:
        found = torch.zeros(len(images), 1, *images.shape[2:])
        found[..., 0, 0] = 1
        return found

    mean = predict_with_flips(upper_left, torch.rand(1, 3, 3, 4), masks=True)
    corners = [[0.25, 0, 0, 0.25], [0, 0, 0, 0], [0.25, 0, 0, 0.25]]
    assert mean[0, 0].tolist() == corners


def test_class_probabilities_are_the_mean_over_four_flips():
    # reads the upper left pixel: the four flips show it each corner in turn
    image = torch.zeros(1, 3, 2, 3)
    image[0, :, 0, 0], image[0, :, 0, 2], image[0, :, 1, 0], image[0, :, 1, 2] = 0.1, 0.2, 0.4, 0.9
    seen = predict_with_flips(lambda x: x[:, :2, 0, 0], image, masks=False)
    torch.testing.assert_close(seen, torch.full((1, 2), (0.1 + 0.2 + 0.4 + 0.9) / 4))


def test_averaged_features_are_invariant_to_flips():
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(3 * 4 * 6, 5))
    encoder.pretrained_cfg = {"mean": (0.25,) * 3, "std": (0.5,) * 3}
    averaged = FlipAveraged(encoder)
    images = torch.rand(2, 3, 4, 6, generator=torch.manual_seed(0))
    torch.testing.assert_close(averaged(images), averaged(images.flip(-1)))
    assert not torch.allclose(encoder(images), encoder(images.flip(-1)))
    assert normalization(averaged) == ((0.25,) * 3, (0.5,) * 3)


def features_of(image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Histograms of the channels (3, 16), the joint histogram (4, 4, 4) as shares of pixels, thumbnail (3, 8, 8)."""
    (features,) = ColorHistogram()(image[None])
    channels, joint, thumbnail = features.split([48, 64, 192])
    return channels.square().view(3, 16), joint.square().view(4, 4, 4), thumbnail.view(3, 8, 8) * 8


def test_color_histograms_count_channels_and_joint_colors():
    image = torch.zeros(3, 16, 16)
    image[0, :4] = 1.0  # a quarter is red, the rest black
    image[2, :] = 0.5
    channels, joint, _ = features_of(image)
    assert channels[0, [0, 15]].tolist() == pytest.approx([0.75, 0.25])
    assert channels[1, 0].item() == pytest.approx(1.0)
    assert channels[2, 8].item() == pytest.approx(1.0)
    assert joint[3, 0, 2].item() == pytest.approx(0.25)
    assert joint[0, 0, 2].item() == pytest.approx(0.75)
    assert joint.sum().item() == pytest.approx(1.0)


def test_thumbnail_keeps_the_layout():
    image = torch.zeros(3, 16, 16)
    image[1, :8, 8:] = 0.8
    _, _, thumbnail = features_of(image)
    assert thumbnail[1, 0, 7].item() == pytest.approx(0.8)
    assert thumbnail[1, 7, 0].item() == pytest.approx(0.0)
    assert thumbnail[0].abs().max().item() == 0


def test_color_histogram_has_the_interface_of_an_encoder():
    encoder = ColorHistogram()
    white = np.full((8, 12, 3), 255, np.uint8)
    (features,) = extract_features(encoder, [white], [0], size=16, device=torch.device("cpu"))
    assert len(features) == encoder.head_hidden_size == 304
    assert features[15].item() == pytest.approx(1.0)  # all red values in the highest bin
    assert features[-1].item() == pytest.approx(1 / 8)


def test_color_histogram_of_an_image_is_independent_of_its_batch():
    images = torch.rand(3, 3, 20, 20, generator=torch.manual_seed(0))
    together = ColorHistogram()(images)
    torch.testing.assert_close(together[1:2], ColorHistogram()(images[1:2]))
