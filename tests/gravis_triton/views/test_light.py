"""Color of the light and of the skin."""

import pytest
import torch

from gravis_triton.views import RandomIlluminant, RandomStainShift, ShadesOfGray


def picture(batch: int = 5) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return 0.2 + 0.4 * torch.rand(batch, 3, 20, 24, generator=generator)


def minkowski(images: torch.Tensor) -> torch.Tensor:
    return images.double().pow(6).mean((2, 3)).pow(1 / 6)


def test_shades_of_gray_leaves_a_gray_image_as_it_is():
    gray = picture()[:, :1].expand(-1, 3, -1, -1)
    assert torch.allclose(ShadesOfGray()(gray), gray, atol=1e-6)


def test_shades_of_gray_makes_the_channels_norms_equal_and_keeps_their_length():
    cast = picture() * torch.tensor([1.2, 0.8, 0.6]).view(3, 1, 1)
    light = minkowski(ShadesOfGray()(cast))
    assert torch.allclose(light[:, 0], light[:, 1], rtol=1e-5)
    assert torch.allclose(light[:, 0], light[:, 2], rtol=1e-5)
    assert torch.allclose(light.norm(dim=1), minkowski(cast).norm(dim=1), rtol=1e-5)


def test_shades_of_gray_by_hand():
    image = torch.tensor([0.4, 0.2, 0.1]).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    expected = (0.16 + 0.04 + 0.01) ** 0.5 / 3**0.5
    assert torch.allclose(ShadesOfGray(power=1)(image), torch.tensor(expected), atol=1e-6)


def test_a_black_channel_stays_black():
    image = picture(1)
    image[:, 2] = 0
    assert torch.equal(ShadesOfGray()(image)[:, 2], image[:, 2])


def test_an_illuminant_is_undone_by_shades_of_gray_up_to_a_scale():
    images = picture()
    lit = RandomIlluminant(p=1.0)(images)
    assert (lit - images).abs().mean((1, 2, 3)).min() > 1e-3
    ratio = ShadesOfGray()(lit) / ShadesOfGray()(images)
    assert torch.allclose(ratio, ratio[:, :1, :1, :1].expand_as(ratio), rtol=1e-4)


def test_gains_of_an_illuminant_multiply_to_one_and_stay_in_their_range():
    gain = RandomIlluminant(warmth=0.3, tint=0.1).draw(2000, 8, 8)["gain"].log()
    assert gain.sum(1).abs().max() < 1e-5
    assert (gain[:, 0] - gain[:, 2]).abs().max() <= 0.6 + 1e-5
    assert gain[:, 1].abs().max() <= 0.1 + 1e-6
    assert (gain[:, 0] - gain[:, 2]).abs().max() > 0.55


def densities(melanin: float, blood: float, shade: float) -> torch.Tensor:
    """An even image (1, 3, 4, 4) of skin with that much of each."""
    mix = torch.tensor([[0.4143, 0.3570, 0.8372], [0.2988, 0.6838, 0.6657], [1.0, 1.0, 1.0]])
    return (-(torch.tensor([melanin, blood, shade]) @ mix)).exp().view(1, 3, 1, 1).expand(1, 3, 4, 4)


def test_a_stain_shift_changes_amounts_of_pigment_and_leaves_the_shading():
    step = RandomStainShift(scale=0.25, shift=0.08, p=1.0)
    changed = step(densities(0.5, 0.3, 0.2).expand(400, -1, -1, -1))
    mix = torch.tensor([[0.4143, 0.3570, 0.8372], [0.2988, 0.6838, 0.6657], [1.0, 1.0, 1.0]]).double()
    melanin, blood, shade = (-changed[:, :, 0, 0].double().log() @ mix.inverse()).unbind(1)
    for amount, before in ((melanin, 0.5), (blood, 0.3)):
        assert amount.min() > before * 0.75 - 0.08 - 1e-4
        assert amount.max() < before * 1.25 + 0.08 + 1e-4
        assert amount.std() > 0.3 * (0.25 * before + 0.08)
        assert abs(amount.mean() - before) < 4 * amount.std() / 400**0.5
    assert torch.allclose(shade, torch.tensor(0.2).double(), atol=1e-4)
    assert abs(torch.corrcoef(torch.stack([melanin, blood]))[0, 1]) < 0.2


@pytest.mark.parametrize("more", ["melanin", "blood"])
def test_more_pigment_darkens_blue_or_green_more_than_red(more):
    before = densities(0.4, 0.3, 0.2)[0, :, 0, 0]
    after = densities(0.4 + 0.2 * (more == "melanin"), 0.3 + 0.2 * (more == "blood"), 0.2)[0, :, 0, 0]
    red, green, blue = (after / before).tolist()
    assert max(red, green, blue) < 1
    assert (blue if more == "melanin" else green) == min(red, green, blue)


def test_a_stain_shift_of_nothing_changes_nothing():
    images = picture()
    assert torch.allclose(RandomStainShift(scale=0.0, shift=0.0, p=1.0)(images), images, atol=1e-5)
