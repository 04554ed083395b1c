"""What lies on the skin or the lens: hair, ink, ruler, bubbles, dark corners, defocus, cutout."""

import pytest
import torch
import torch.nn.functional as F
from kornia.augmentation import RandomErasing

from gravis_triton.views import (
    RandomCutout,
    RandomDefocus,
    RandomGelBubbles,
    RandomHair,
    RandomMarkerInk,
    RandomRuler,
    RandomVignette,
)
from gravis_triton.views.artifacts import stroke_cover


def gray(batch: int, side: int = 64, value: float = 0.5) -> torch.Tensor:
    return torch.full((batch, 3, side, side), value)


def straight(start: tuple[float, float], end: tuple[float, float]) -> torch.Tensor:
    """Control points (1, 1, 4, 2) of a straight stroke."""
    t = torch.linspace(0, 1, 4).view(4, 1)
    return (torch.tensor(start) + t * (torch.tensor(end) - torch.tensor(start))).view(1, 1, 4, 2)


def cover(control: torch.Tensor, thickness: float, side: int = 32) -> torch.Tensor:
    """Coverage of an image of this side by strokes with lengths in pixels."""
    thickness_of_side = torch.full((1, 1, 4), thickness / side)
    return stroke_cover(control / side, thickness_of_side, (side, side), longest=2.0, widest=8.0 / side)[0, 0]


def test_a_horizontal_stroke_covers_its_rows_in_full_and_half_of_the_next():
    drawn = cover(straight((-10, 10.5), (42, 10.5)), 4.0)  # from y = 8.5 to 12.5
    assert torch.allclose(drawn[8:13, 5], torch.tensor([0.5, 1.0, 1.0, 1.0, 0.5]), atol=1e-4)
    assert drawn[:8].max() < 1e-4
    assert drawn[13:].max() < 1e-4


def test_a_slanted_stroke_covers_pixels_by_their_distance_from_the_line():
    start, end = torch.tensor([-20.0, 3.0]), torch.tensor([50.0, 31.0])
    drawn = cover(straight(tuple(start.tolist()), tuple(end.tolist())), 3.0)
    y, x = torch.meshgrid(torch.arange(32) + 0.5, torch.arange(32) + 0.5, indexing="ij")
    along = (end - start) / (end - start).norm()
    distance = ((x - start[0]) * along[1] - (y - start[1]) * along[0]).abs()
    assert torch.allclose(drawn, (1.5 - distance + 0.5).clamp(0, 1), atol=2e-3)


def test_a_curved_stroke_has_no_gaps():
    control = torch.tensor([[4.0, 4], [28, 4], [4, 28], [28, 28]]).view(1, 1, 4, 2)
    drawn = cover(control, 2.0)
    t = torch.linspace(0, 1, 400).view(-1, 1)
    points = (1 - t) ** 3 * control[0, 0, 0] + 3 * t * (1 - t) ** 2 * control[0, 0, 1]
    points = points + 3 * t**2 * (1 - t) * control[0, 0, 2] + t**3 * control[0, 0, 3]
    column, row = points.floor().long().unbind(1)
    assert drawn[row, column].min() > 0.6  # a pixel that the middle line enters is at most 0.71 from it


def test_a_stroke_thinner_than_a_pixel_covers_no_more_than_its_width():
    assert abs(cover(straight((-10, 10.5), (42, 10.5)), 0.3).max().item() - 0.3) < 1e-4


def test_strokes_beyond_the_picture_and_of_no_width_draw_nothing():
    assert cover(straight((-10, -20), (42, -20)), 4.0).max() == 0
    assert cover(straight((0, 10), (32, 10)), 0.0).max() == 0


@pytest.mark.parametrize(("light", "sign"), [(0.0, -1), (1.0, 1)])
def test_hair_is_darker_or_lighter_than_skin_and_covers_a_small_part_of_it(light, sign):
    torch.manual_seed(0)
    change = (RandomHair(light=light, p=1.0)(gray(60, 96)) - 0.5) * sign
    assert change.min() >= 0
    touched = (change.amax(1) > 0.02).float().mean((1, 2))
    assert touched.max() < 0.3
    assert 0.005 < touched.mean() < 0.12
    assert change.amax((1, 2, 3)).median() > 0.2


def test_as_many_hairs_are_drawn_as_requested_and_each_tapers():
    hair = RandomHair(count=(2, 9), p=1.0)
    drawn = hair.draw(500, 64, 64)["thickness"]
    hairs = (drawn[:, :, 0] > 0).sum(1)
    assert hairs.min() == 2
    assert hairs.max() == 9
    assert torch.allclose(drawn[..., 3], 0.25 * drawn[..., 0])


def test_ink_takes_light_away_and_leaves_most_of_the_violet_and_blue():
    torch.manual_seed(0)
    images = gray(60, 96)
    inked = RandomMarkerInk(p=1.0)(images)
    assert (inked <= images).all()
    lost = (images - inked).sum((2, 3)).sum(0)
    assert lost[2] < 0.7 * torch.minimum(lost[0], lost[1])
    assert ((images - inked).amax((1, 2, 3)) > 0.02).float().mean() > 0.8


def test_a_rulers_marks_are_dark_and_evenly_spaced():
    ruler = RandomRuler(p=1.0)
    images = gray(1, 200, 1.0)
    ruler(images)
    drawn = {"angle": 0.0, "distance": 0.4, "spacing": 0.1, "phase": 0.0, "every": 5.0, "length": 0.05,
             "thickness": 0.02, "line": 0.0, "ink": 0.0, "opacity": 1.0}  # fmt: skip
    params = {name: torch.tensor([value]) for name, value in drawn.items()}
    params["batch_prob"] = torch.ones(1)
    picture = ruler(images, params)[0, 0].round(decimals=4)
    # the base line lies 80 pixels above the center; marks are 10 (every fifth 17) long, 4 wide, 20 apart
    row = picture[25]
    assert row[100].item() == 0
    assert [column for column in range(0, 200, 20) if row[column] == 0] == list(range(0, 200, 20))
    assert (row == 0).sum() == 10 * 4
    assert (picture[19] == 1).all()
    assert (picture[34] == 0).sum() == 2 * 4  # the long marks: at the center, and five to the left of it
    assert (picture[38] == 1).all()


def test_bubbles_only_touch_their_discs_and_are_lit_from_one_side():
    step = RandomGelBubbles(p=1.0)
    images = gray(1, 100)
    step(images)
    params = {name: torch.zeros_like(value) for name, value in step._params.items()}
    params["batch_prob"] = torch.ones(1)
    params["radius"] = torch.full((1, 6), 0.2)
    params["center"][:, 0] = 0.5
    params["strength"][:, 0] = 0.5
    params["light"] = torch.tensor([[1.0, 0.0]])
    picture = step(images, params)[0, 0]
    y, x = torch.meshgrid(torch.arange(100) + 0.5, torch.arange(100) + 0.5, indexing="ij")
    distance = torch.hypot(x - 50, y - 50) / 20
    assert torch.allclose(picture[distance > 1.05], torch.tensor(0.5))
    assert picture[50, 68] > 0.6  # the rim towards the light
    assert picture[50, 31] < 0.4  # and away from it
    assert abs(picture[57, 45].item() - (0.5 + 0.5 * 0.15)) < 1e-5  # inside


def test_reflections_are_white():
    step = RandomGelBubbles(p=1.0)
    images = gray(1, 100)
    step(images)
    params = {name: torch.zeros_like(value) for name, value in step._params.items()}
    params["batch_prob"] = torch.ones(1)
    params["radius"] = torch.ones(1, 6)
    params["glint"][:, 0] = 0.5
    params["axes"][:, 0] = torch.tensor([0.1, 0.05])
    picture = step(images, params)[0, 0]
    assert picture[50, 50] == 1
    assert (picture > 0.5).nonzero()[:, 1].max() == 59
    assert (picture > 0.5).nonzero()[:, 0].max() == 54


def test_dark_corners_leave_the_center_and_darken_by_what_was_drawn():
    torch.manual_seed(0)
    vignette = RandomVignette(radius=(0.4, 0.5), p=1.0)
    images = gray(40, 80)
    changed = vignette(images)
    assert torch.equal(changed[:, :, 20:60, 20:60], images[:, :, 20:60, 20:60])
    assert (changed <= images).all()
    params = vignette._params
    beyond = params["radius"] + params["rim"] < (40**2 * 2) ** 0.5 / 80 - 0.06  # corner pixels are wholly outside
    expected = 0.5 * (1 - params["darkness"])
    assert beyond.sum() > 10
    assert torch.allclose(changed[beyond, 0, 0, 0], expected[beyond], atol=1e-6)


def test_defocus_is_the_disk_that_its_formula_names():
    defocus = RandomDefocus((2.3, 2.3), p=1.0)
    image = torch.zeros(1, 3, 15, 15)
    image[..., 7, 7] = 1.0
    y, x = torch.meshgrid(torch.arange(15.0) - 7, torch.arange(15.0) - 7, indexing="ij")
    disk = (2.3 + 0.5 - (x**2 + y**2).sqrt()).clamp(0, 1)
    assert torch.allclose(defocus(image)[0, 1], disk / disk.sum(), atol=1e-6)


def test_defocus_keeps_the_mean_of_what_does_not_touch_the_border():
    torch.manual_seed(0)
    images = F.pad(torch.rand(8, 3, 20, 20), [8] * 4)
    assert torch.allclose(RandomDefocus((1.0, 4.0), p=1.0)(images).mean((2, 3)), images.mean((2, 3)), atol=1e-6)


def test_the_smallest_defocus_changes_little_and_the_largest_much():
    image = torch.rand(1, 3, 40, 40)
    little, much = ((RandomDefocus((r, r), p=1.0)(image) - image).abs().mean().item() for r in (0.5, 3.0))
    assert little < 1e-6  # a disk narrower than a pixel is the pixel
    assert much > 0.15


def test_cutout_squares_follow_the_law_of_kornias_erasing():
    torch.manual_seed(0)
    images = torch.ones(3000, 1, 28, 28)
    theirs = RandomErasing(scale=(1 / 49, 1 / 49), ratio=(1.0, 1.0), p=1.0)(images)
    ours = RandomCutout(1, 1 / 7)(images)
    assert (ours == 0).sum((1, 2, 3)).tolist() == [16] * 3000 == (theirs == 0).sum((1, 2, 3)).tolist()
    expected = 3000 * (16 / 28**2)
    assert abs((ours == 0).float().mean() - 16 / 28**2) < 1e-6
    share = [(erased == 0).sum((0, 1)).float() for erased in (ours, theirs)]
    assert (share[0] - share[1]).abs().max() < 5 * (2 * expected) ** 0.5 + 5 * (2 * 3000 / 25**2 * 16) ** 0.5
    assert share[0][14, 14] > 2 * share[0][0, 0]  # a corner is covered by one placement, the middle by sixteen
    assert share[0][0, 0] > 0


def test_cutout_takes_any_value_of_any_range():
    images = torch.randn(3, 3, 20, 20)
    cut = RandomCutout(2, 0.25, value=-2.0)(images)
    assert ((cut == -2.0) | (cut == images)).all()
    assert (cut == -2.0).any()
