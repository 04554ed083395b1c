import torch

from gravis_triton.settings.augmentation import LabeledViewSettings
from gravis_triton.views import LabeledView

STILL = LabeledViewSettings(
    crop_scale=1.0,
    rotation=0.0,
    flip=0.0,
    vertical_flip=0.0,
    brightness=0.0,
    contrast=0.0,
    saturation=0.0,
    hue=0.0,
)


def view(recipe: LabeledViewSettings, size: int = 16) -> LabeledView:
    return LabeledView(recipe, size=size, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


def test_without_strength_an_image_is_only_normalized():
    images = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    views = view(STILL)(images, torch.tensor([[16, 16]] * 2))
    assert torch.allclose(views, (images / 255 - 0.5) / 0.25, atol=1e-5)


def test_a_mask_moves_with_its_image_and_stays_binary():
    torch.manual_seed(0)
    masks = torch.zeros(8, 1, 32, 32, dtype=torch.uint8)
    masks[:, :, 8:20, 12:28] = 255
    recipe = LabeledViewSettings(brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0)
    views, moved = view(recipe, size=32).image_and_mask(
        masks.expand(-1, 3, -1, -1), torch.tensor([[32, 32]] * 8), masks
    )
    assert set(moved.unique().tolist()) == {0.0, 1.0}
    white = (views[:, :1] * 0.25 + 0.5) > 0.5
    assert (white != moved.bool()).float().mean() < 0.03  # bilinear and nearest differ along the outline alone


def test_every_image_gets_its_own_view():
    torch.manual_seed(0)
    images = torch.randint(0, 256, (1, 3, 16, 16), dtype=torch.uint8).expand(4, -1, -1, -1)
    views = view(LabeledViewSettings())(images, torch.tensor([[16, 16]] * 4))
    assert all(not torch.equal(views[0], other) for other in views[1:])
