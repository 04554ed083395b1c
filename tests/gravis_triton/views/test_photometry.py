"""Steps taken from kornia: the same draws give kornia's own pictures, whose statistics are torchvision's."""

import pytest
import torch
from kornia.augmentation import ColorJitter, RandomGaussianBlur, RandomGrayscale
from kornia.color import hsv_to_rgb, rgb_to_hsv
from torchvision import transforms

from gravis_triton.settings.augmentation import PRESETS
from gravis_triton.views import FusedColorJitter
from gravis_triton.views.lens import GaussianBlur
from gravis_triton.views.per_sample import ChosenSamples
from gravis_triton.views.view_maker import photometric_steps

STRENGTHS = (0.4, 0.4, 0.4, 0.1)


def pictures(batch: int, side: int = 24) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(batch, 3, 4, 4, generator=generator)
    return torch.nn.functional.interpolate(coarse, (side, side), mode="bilinear").clamp(0, 1)


def published(kind: type) -> ChosenSamples:
    return next(step for step in photometric_steps(PRESETS["published"], 224) if isinstance(step, kind))


@pytest.mark.parametrize("seed", range(12))
def test_fused_jitter_gives_kornias_pictures_for_kornias_draws(seed):
    torch.manual_seed(seed)
    images = torch.rand(6, 3, 16, 16)
    if seed % 2:
        images = (images * 3).round() / 3  # grays, ties between channels, blacks and whites
    kornias = ColorJitter(*STRENGTHS, p=1.0)
    expected = kornias(images)
    assert torch.allclose(FusedColorJitter(*STRENGTHS, p=1.0)(images, kornias._params), expected, atol=5e-6)


def test_fused_jitter_draws_what_kornia_draws():
    torch.manual_seed(3)
    kornias = ColorJitter(*STRENGTHS, p=1.0).forward_parameters((50, 3, 8, 8))
    torch.manual_seed(3)
    ours = FusedColorJitter(*STRENGTHS, p=1.0).forward_parameters((50, 3, 8, 8))
    assert all(torch.equal(ours[name], kornias[name]) for name in kornias)


@pytest.mark.parametrize("turns", [-0.5, -0.13, 0.0, 0.07, 0.33, 0.5])
def test_a_hue_turn_agrees_with_the_way_through_hsv(turns):
    images = torch.rand(4, 3, 16, 16, dtype=torch.float64)
    jitter = FusedColorJitter(0, 0, 0, 0, p=1.0)
    params = {f"{name}_factor": torch.ones(4) for name in ("brightness", "contrast", "saturation")}
    params |= {"hue_factor": torch.full((4,), turns), "order": torch.tensor([0, 1, 2, 3])}
    hsv = rgb_to_hsv(images)
    hsv[:, 0] = (hsv[:, 0] + turns * 2 * torch.pi).remainder(2 * torch.pi)
    assert torch.allclose(jitter(images.float(), params).double(), hsv_to_rgb(hsv), atol=2e-5)


@pytest.mark.parametrize(
    ("position", "name", "strength"),
    [(0, "brightness", 0.4), (1, "contrast", 0.4), (2, "saturation", 0.4), (3, "hue", 0.1)],
)
def test_each_jitter_changes_pictures_as_much_as_torchvisions_does(position, name, strength):
    torch.manual_seed(0)
    strengths = [0.0] * 4
    strengths[position] = strength
    images = pictures(1500, 8)
    ours = (FusedColorJitter(*strengths, p=1.0)(images) - images).abs().mean((1, 2, 3))
    jitter = transforms.ColorJitter(**{name: strength})
    theirs = torch.stack([(jitter(image) - image).abs().mean() for image in images])
    error = ((ours.var() + theirs.var()) / len(images)).sqrt().item()
    assert abs(ours.mean() - theirs.mean()).item() < 4 * error
    assert abs(ours.std() / theirs.std() - 1).item() < 0.1


def test_jitter_factors_have_the_ranges_of_torchvision():
    params = FusedColorJitter(*STRENGTHS, p=1.0).forward_parameters((4000, 3, 8, 8))
    for name, low, high in (
        ("brightness", 0.6, 1.4),
        ("contrast", 0.6, 1.4),
        ("saturation", 0.6, 1.4),
        ("hue", -0.1, 0.1),
    ):
        factor = params[f"{name}_factor"]
        width = high - low
        assert low <= factor.min() < low + 0.01 * width
        assert high - 0.01 * width < factor.max() <= high
        assert abs(factor.mean() - (low + high) / 2) < 4 * width / 12**0.5 / 4000**0.5


def test_gray_views_are_torchvisions_gray_views():
    images = pictures(8)
    step = published(RandomGrayscale)
    gray = step(images)
    chosen = step._params["batch_prob"] > 0.5
    expected = transforms.functional.rgb_to_grayscale(images, 3)
    assert torch.allclose(gray[chosen], expected[chosen], atol=1e-3)  # torchvision's weights have four digits


def test_the_published_blur_is_torchvisions_blur_of_the_same_width():
    torch.manual_seed(0)
    images = pictures(6, 40)
    step = published(RandomGaussianBlur)
    blurred = step(images)
    chosen, sigma = step._params["batch_prob"] > 0.5, step._params["sigma"]
    assert 0 < chosen.sum() < 6
    for image, before, applied, width in zip(blurred, images, chosen, sigma.tolist(), strict=True):
        expected = transforms.functional.gaussian_blur(before, [13, 13], [width, width])
        assert torch.allclose(image, expected if applied else before, atol=1e-5)


def test_the_published_blur_draws_widths_uniformly_from_a_tenth_to_two_pixels():
    sigma = published(RandomGaussianBlur).forward_parameters((4000, 3, 8, 8))["sigma"]
    assert 0.1 <= sigma.min() < 0.12
    assert 1.98 < sigma.max() <= 2.0
    assert abs(sigma.mean() - 1.05) < 4 * 1.9 / 12**0.5 / 4000**0.5


def test_steps_of_kornia_work_on_the_chosen_samples_as_kornia_does():
    images = pictures(20)
    for ours, kornias in (
        (published(RandomGrayscale), RandomGrayscale(p=0.2)),
        (published(RandomGaussianBlur), RandomGaussianBlur((13, 13), (0.1, 2.0), p=0.5)),
    ):
        expected = kornias(images)
        assert torch.allclose(ours(images, kornias._params), expected, atol=1e-6)


@pytest.mark.parametrize("sigma", [0.1, 0.25, 0.7, 1.2, 2.0])
def test_a_blur_that_leaves_out_negligible_taps_is_kornias_for_every_width_up_to_the_edges(sigma):
    images = torch.rand(3, 3, 20, 9)
    kornias = RandomGaussianBlur((13, 7), (sigma, sigma), p=1.0)
    expected = kornias(images)
    assert torch.allclose(GaussianBlur((13, 7), (sigma, sigma), p=1.0)(images, kornias._params), expected, atol=1e-6)
