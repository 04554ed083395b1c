import numpy as np
import pytest
import torch

from gravis_triton.evaluation import ColorHistogram, extract_features


def features_of(image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Histograms of the channels (3, 16), the joint histogram (4, 4, 4) as shares of pixels, thumbnail (3, 8, 8)."""
    (features,) = ColorHistogram()(image[None])
    channels, joint, thumbnail = features.split([48, 64, 192])
    return channels.square().view(3, 16), joint.square().view(4, 4, 4), thumbnail.view(3, 8, 8) * 8


def test_colors_are_counted_channel_by_channel_and_jointly():
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


def test_the_thumbnail_shows_where_a_color_is():
    image = torch.zeros(3, 16, 16)
    image[1, :8, 8:] = 0.8
    _, _, thumbnail = features_of(image)
    assert thumbnail[1, 0, 7].item() == pytest.approx(0.8)
    assert thumbnail[1, 7, 0].item() == pytest.approx(0.0)
    assert thumbnail[0].abs().max().item() == 0


def test_it_has_the_interface_of_an_encoder_of_plain_pixels():
    encoder = ColorHistogram()
    white = np.full((8, 12, 3), 255, np.uint8)
    (features,) = extract_features(encoder, [white], [0], size=16, device=torch.device("cpu"))
    assert len(features) == encoder.head_hidden_size == 304
    assert features[15].item() == pytest.approx(1.0)  # all red values in the highest bin
    assert features[-1].item() == pytest.approx(1 / 8)


def test_an_image_of_a_batch_does_not_depend_on_the_others():
    images = torch.rand(3, 3, 20, 20, generator=torch.manual_seed(0))
    together = ColorHistogram()(images)
    torch.testing.assert_close(together[1:2], ColorHistogram()(images[1:2]))
