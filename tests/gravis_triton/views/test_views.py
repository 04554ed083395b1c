from dataclasses import replace

import pytest
import torch

from gravis_triton.settings.augmentation import PRESETS, ViewSettings
from gravis_triton.views import ViewMaker

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PLAIN = ViewSettings(
    views=2, crop_scale=1.0, rotation=0, brightness=0, contrast=0, saturation=0, hue=0, grayscale=0, blur=0, flip=0,
    cutout_holes=0,
)  # fmt: skip


def maker(recipe: ViewSettings, size: int = 32) -> ViewMaker:
    return ViewMaker(recipe, size=size, mean=MEAN, std=STD)


def sources(count: int, side: int = 48) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=generator)
    return images, torch.tensor([[side, side]]).expand(count, 2)


def test_views_have_the_shape_sources_views_channels_size_size():
    assert maker(ViewSettings(views=3))(*sources(5)).shape == (5, 3, 3, 32, 32)


def test_every_view_is_drawn_anew_and_follows_from_torchs_seed():
    views = maker(ViewSettings(views=4))
    torch.manual_seed(1)
    first = views(*sources(3))
    torch.manual_seed(1)
    again = views(*sources(3))
    assert torch.equal(first, again)
    flat = first.flatten(2)
    for one in range(4):
        for other in range(one):
            assert (flat[:, one] - flat[:, other]).abs().mean(1).min() > 0.05


def test_without_augmentation_a_view_is_the_normalized_image():
    images, image_sizes = sources(4, side=32)
    crop_keeps_all = ViewMaker(PLAIN, size=32, mean=MEAN, std=STD)
    crop_keeps_all.crop.flags["ratio"] = (1.0, 1.0)
    views = crop_keeps_all(images, image_sizes)
    expected = (images.double() / 255 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    assert torch.allclose(views[:, 0].double(), expected, atol=2e-4)
    assert torch.equal(views[:, 0], views[:, 1])


@pytest.mark.parametrize(("size", "side"), [(224, 32), (112, 16), (64, 9)])
def test_cut_out_squares_scale_with_the_view_and_hold_the_mean_color(size, side):
    white = torch.full((4, 3, size, size), 255, dtype=torch.uint8)
    recipe = ViewSettings(**{**{f: getattr(PLAIN, f) for f in PLAIN.__dataclass_fields__}, "cutout_holes": 1})
    views = maker(recipe, size)(white, torch.tensor([[size, size]]).expand(4, 2))
    holes = (views == 0).all(2).flatten(2).sum(2)
    assert holes.tolist() == [[side * side] * 2] * 4


def test_about_a_fifth_of_the_published_views_is_gray():
    torch.manual_seed(0)
    images = torch.zeros(100, 3, 24, 24, dtype=torch.uint8)
    images[:, 0] = 200  # red
    views = maker(replace(PRESETS["published"], views=4, cutout_holes=0, hue=0.0, saturation=0.0), 16)(
        images, torch.tensor([[24, 24]]).expand(100, 2)
    )
    color = views * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)
    gray = (color.amax(2) - color.amin(2)).amax((2, 3)) < 1e-3
    share = gray.float().mean().item()
    assert abs(share - 0.2) < 4 * (0.2 * 0.8 / 400) ** 0.5


def test_the_jitter_keeps_pixels_in_range():
    torch.manual_seed(0)
    views = maker(ViewSettings(views=8, cutout_holes=0))(*sources(8))
    color = views * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)
    assert color.min() > -1e-5
    assert color.max() < 1 + 1e-5


@pytest.mark.parametrize("size", [2, 8, 32])
def test_the_widest_blur_is_made_at_any_size(size: int) -> None:
    settings = ViewSettings(views=2, blur=1.0, blur_sigma=100.0)
    views = ViewMaker(settings, size=size, mean=(0, 0, 0), std=(1, 1, 1))
    images = torch.randint(0, 256, (2, 3, size, size), dtype=torch.uint8)
    assert views(images, torch.full((2, 2), size)).isfinite().all()
