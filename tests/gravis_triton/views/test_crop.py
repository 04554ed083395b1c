"""A ramp image holds its own coordinates, which bilinear sampling keeps: a view shows where it was taken."""

import math

import pytest
import torch
from kornia.augmentation import AugmentationSequential
from torchvision.transforms import RandomResizedCrop

from gravis_triton.views import RandomResizedRotatedCrop

MIDDLE = torch.tensor([0.5])


def ramp(height: int, width: int, batch: int = 1) -> torch.Tensor:
    """Channel 0 is the x coordinate of a pixel's center, channel 1 its y coordinate, channel 2 is one."""
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    return torch.stack([x, y, torch.ones_like(x)]).float().expand(batch, -1, -1, -1)


def parameters(crop: RandomResizedRotatedCrop, shape: torch.Size, **values: float) -> dict[str, torch.Tensor]:
    drawn = crop.forward_parameters(shape)
    for name, value in values.items():
        drawn[name] = torch.full_like(drawn[name], value)
    return drawn


def test_a_box_of_a_quarter_of_the_area_in_the_upper_left_corner_is_sampled_at_the_centers_of_its_cells():
    image = ramp(16, 16)
    crop = RandomResizedRotatedCrop(4, scale=(0.25, 0.25), ratio=(1.0, 1.0), degrees=0.0, flip=0.0)
    view = crop(image, parameters(crop, image.shape, center=0.0))
    assert torch.allclose(view[0, 0, 0], torch.tensor([1.0, 3.0, 5.0, 7.0]), atol=1e-4)  # 8 pixels in 4 cells
    assert torch.allclose(view[0, 1, :, 0], torch.tensor([1.0, 3.0, 5.0, 7.0]), atol=1e-4)


def test_the_box_in_the_lower_right_corner_ends_at_the_edge_of_the_image():
    image = ramp(16, 16)
    crop = RandomResizedRotatedCrop(4, scale=(0.25, 0.25), ratio=(1.0, 1.0), degrees=0.0, flip=0.0)
    view = crop(image, parameters(crop, image.shape, center=1.0))
    assert torch.allclose(view[0, 0, 0], torch.tensor([9.0, 11.0, 13.0, 15.0]), atol=1e-4)


def test_a_mirror_image_runs_backwards_in_x_only():
    image = ramp(16, 16)
    crop = RandomResizedRotatedCrop(4, scale=(1.0, 1.0), ratio=(1.0, 1.0), degrees=0.0, flip=1.0)
    view = crop(image)
    assert torch.allclose(view[0, 0, 0], torch.tensor([14.0, 10.0, 6.0, 2.0]), atol=1e-4)
    assert torch.allclose(view[0, 1, :, 0], torch.tensor([2.0, 6.0, 10.0, 14.0]), atol=1e-4)


def test_a_quarter_turn_swaps_the_axes_about_the_center():
    image = ramp(16, 16)
    crop = RandomResizedRotatedCrop(4, scale=(1.0, 1.0), ratio=(1.0, 1.0), degrees=90.0, flip=0.0)
    view = crop(image, parameters(crop, image.shape, angle=1.0, center=0.5))
    assert torch.allclose(view[0, 1, 0], torch.tensor([2.0, 6.0, 10.0, 14.0]), atol=1e-3)  # along a row, y grows
    assert torch.allclose(view[0, 0, :, 0], torch.tensor([14.0, 10.0, 6.0, 2.0]), atol=1e-3)


def test_corners_uncovered_by_the_rotation_repeat_edge_pixels_and_are_never_black():
    view = RandomResizedRotatedCrop(32, scale=(1.0, 1.0), degrees=45.0)(ramp(16, 16, 20))
    assert torch.allclose(view[:, 2], torch.ones(20, 32, 32), atol=1e-5)


def test_crops_stay_inside_an_image_that_fills_only_part_of_its_canvas():
    image = ramp(24, 40, 200)
    crop = RandomResizedRotatedCrop(8, scale=(0.2, 1.0), degrees=0.0)
    view = crop(image, image_sizes=torch.tensor([[12, 30]]).expand(200, 2))
    assert view[:, 0].max() < 30
    assert view[:, 1].max() < 12
    assert view[:, 0].max() > 28  # and reach its far edges
    assert view[:, 1].max() > 11


@pytest.mark.parametrize("shape", [(96, 96), (96, 128), (96, 288)])
def test_crops_reach_every_corner_and_are_distorted_by_no_more_than_the_aspect_ratio_allows(shape):
    crop = RandomResizedRotatedCrop(16, scale=(0.2, 1.0), degrees=0.0, flip=0.0)
    view = crop(ramp(*shape, 400))
    x, y = view[:, 0], view[:, 1]
    step_x, step_y = x[:, 0, 1] - x[:, 0, 0], y[:, 1, 0] - y[:, 0, 0]
    stretch = step_x / step_y
    assert stretch.min() > 3 / 4 - 1e-3
    assert stretch.max() < 4 / 3 + 1e-3
    for coordinate, length in ((x, shape[1]), (y, shape[0])):
        assert coordinate.min() < 0.1 * length
        assert coordinate.max() > 0.9 * length


def test_boxes_follow_the_law_of_torchvisions_random_resized_crop():
    torch.manual_seed(0)
    draws, height, width = 4000, 300, 400
    theirs = torch.tensor(
        [RandomResizedCrop.get_params(torch.empty(3, height, width), [0.2, 1.0], [3 / 4, 4 / 3]) for _ in range(draws)]
    ).float()  # top, left, height, width
    crop = RandomResizedRotatedCrop(2, scale=(0.2, 1.0), degrees=0.0, flip=0.0)
    transform = crop.compute_transformation(
        torch.empty(draws, 3, height, width), crop.generate_parameters((draws, 3, height, width)), crop.flags
    )
    box_height, box_width = 2 / transform[:, 1, 1], 2 / transform[:, 0, 0]
    top = (-transform[:, 1, 2] - 0.5) / transform[:, 1, 1] + 0.5
    for ours, other, scale in (
        (box_height * box_width, theirs[:, 2] * theirs[:, 3], height * width),
        (box_width / box_height, theirs[:, 3] / theirs[:, 2], 1.0),
        (top, theirs[:, 0], height),
    ):
        error = math.sqrt((ours.var() + other.var()).item() / draws)
        assert abs(ours.mean() - other.mean()).item() < 4 * error + 0.002 * scale  # torchvision rounds to pixels
        assert abs(ours.std() / other.std() - 1).item() < 0.06


def test_the_same_draws_give_the_same_view_again():
    image = torch.rand(5, 3, 32, 32)
    crop = RandomResizedRotatedCrop(16)
    view = crop(image)
    assert torch.equal(view, crop(image, crop._params))
    assert not torch.equal(view, crop(image))


def test_the_same_view_on_the_whole_batch_on_request():
    image = torch.rand(1, 3, 32, 32).expand(4, -1, -1, -1)
    view = RandomResizedRotatedCrop(16, same_on_batch=True)(image)
    assert torch.equal(view[0], view[3])


def anywhere(**changed: float) -> RandomResizedRotatedCrop:
    """Any crop at any angle, mirrored either way."""
    settings = {"scale": (0.1, 1.0), "degrees": 180.0, "flip": 0.5, "vertical_flip": 0.5, **changed}
    return RandomResizedRotatedCrop(24, **settings)


def test_a_vertical_flip_of_the_whole_image_is_its_exact_mirror_image():
    image = torch.rand(3, 3, 24, 24)
    crop = anywhere(scale=(1.0, 1.0), ratio=(1.0, 1.0), degrees=0.0, flip=0.0, vertical_flip=1.0)
    assert torch.allclose(crop(image), image.flip(2), atol=2e-5)


def test_flips_are_drawn_independently_with_their_probabilities():
    torch.manual_seed(0)
    crop = anywhere(degrees=0.0, flip=0.3, vertical_flip=0.6)
    view = crop(ramp(32, 32, 2000))
    mirrored = view[:, 0, 0, 0] > view[:, 0, 0, 1]
    upside_down = view[:, 1, 0, 0] > view[:, 1, 1, 0]
    for share, expected in (
        (mirrored, 0.3),
        (upside_down, 0.6),
        (mirrored & upside_down, 0.18),
    ):
        assert abs(share.float().mean().item() - expected) < 4 * (expected * (1 - expected) / 2000) ** 0.5


def test_any_angle_is_reached_and_no_corner_is_ever_black():
    torch.manual_seed(0)
    crop = anywhere(scale=(1.0, 1.0), flip=0.0, vertical_flip=0.0)
    view = crop(ramp(200, 200, 500))
    assert torch.allclose(view[:, 2], torch.ones(500, 24, 24), atol=1e-5)
    middle = view[:, :2, 11:13, 11:13]
    turned = torch.atan2(*(middle[..., 0, 1] - middle[..., 0, 0]).flip(1).unbind(1)).rad2deg()
    counts = torch.histc(turned, bins=6, min=-180, max=180)
    assert (counts - 500 / 6).abs().max() < 4 * (500 * 5 / 36) ** 0.5


@pytest.mark.parametrize("image_sizes", [None, torch.tensor([[30, 40], [44, 25], [48, 48], [20, 20]] * 10)])
def test_a_coordinate_grid_and_its_mask_are_cropped_at_the_same_places(image_sizes):
    grid = ramp(48, 48, 40)
    views, masks = anywhere().image_and_mask(grid, grid[:, :2], image_sizes=image_sizes)
    if image_sizes is None:  # inside the canvas bilinear sampling keeps the ramp; nearest is at most half a pixel away
        assert (views[:, :2] - masks).abs().max() <= 0.5 + 1e-3
    inside = (views[:, :2] > 1).all(1) & (views[:, :2] < 47).all(1)
    assert (views[:, :2] - masks).abs().amax(1)[inside].max() <= 0.5 + 1e-3


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.float32])
def test_masks_keep_their_type_and_hold_no_new_value(dtype):
    masks = (torch.rand(6, 1, 40, 52) < 0.5).to(dtype)
    _, cropped = anywhere().image_and_mask(torch.rand(6, 3, 40, 52), masks)
    assert cropped.dtype == dtype
    assert set(cropped.unique().tolist()) == set(masks.unique().tolist())


def test_masks_on_another_canvas_raise():
    with pytest.raises(ValueError, match=r"masks \(2, 1, 40, 41\) do not match the images \(2, 3, 40, 40\)"):
        anywhere().image_and_mask(torch.rand(2, 3, 40, 40), torch.rand(2, 1, 40, 41))


def test_kornias_sequential_crops_image_and_mask_alike_and_replays_both():
    grid = ramp(40, 40, 12)
    sequence = AugmentationSequential(anywhere(), data_keys=["input", "mask"])
    views, masks = sequence(grid, grid)
    assert (views - masks).abs().max() <= 0.5 + 1e-3
    assert not torch.equal(views, masks)  # one is bilinear, the other nearest
    again = sequence(grid, grid, params=sequence._params)
    assert torch.equal(views, again[0])
    assert torch.equal(masks, again[1])


def test_a_replay_repeats_the_image_sizes_too_and_leaves_the_given_draws_as_they_were():
    grid, image_sizes = ramp(40, 60, 5), torch.tensor([[20, 30]]).expand(5, 2)
    crop = anywhere()
    drawn = crop.forward_parameters(grid.shape)
    views = crop(grid, drawn, image_sizes=image_sizes)
    assert "image_sizes" not in drawn
    assert torch.equal(crop(grid, crop._params), views)
    assert torch.equal(crop.image_and_mask(grid, grid, crop._params)[0], views)


def test_the_same_geometry_for_image_and_mask_on_the_whole_batch_on_request():
    grid = ramp(32, 32, 4)
    views, masks = anywhere(same_on_batch=True).image_and_mask(grid, grid)
    assert torch.equal(views[0], views[3])
    assert torch.equal(masks[0], masks[3])


def test_views_of_an_image_are_what_its_copies_are_cropped_to():
    images, image_sizes = torch.rand(3, 3, 40, 60), torch.tensor([[40, 60], [30, 60], [40, 20]])
    crop = anywhere()
    torch.manual_seed(0)
    views = crop.views_of(images, 5, image_sizes)
    torch.manual_seed(0)
    copies = crop(images.repeat_interleave(5, 0), image_sizes=image_sizes.repeat_interleave(5, 0))
    assert torch.allclose(views, copies, atol=2e-4)  # kornia's way inverts the matrix twice
