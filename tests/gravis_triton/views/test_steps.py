"""What every photometric step keeps to, whatever it does."""

import pytest
import torch

from gravis_triton.views import (
    FusedColorJitter,
    RandomCutout,
    RandomDefocus,
    RandomGelBubbles,
    RandomHair,
    RandomIlluminant,
    RandomMarkerInk,
    RandomRuler,
    RandomStainShift,
    RandomVignette,
    ShadesOfGray,
)
from gravis_triton.views.per_sample import ChosenSamples

DRAWING = [
    RandomCutout(1, 0.2), RandomDefocus(), RandomGelBubbles(), RandomHair(), RandomIlluminant(), RandomMarkerInk(),
    RandomRuler(), RandomStainShift(), RandomVignette(), FusedColorJitter(0.4, 0.4, 0.4, 0.1),
]  # fmt: skip
STEPS = [*DRAWING, ShadesOfGray()]


def with_probability(step: ChosenSamples, p: float, same_on_batch: bool = False) -> ChosenSamples:
    step.p, step.same_on_batch = p, same_on_batch
    return step


def name(step: ChosenSamples) -> str:
    return type(step).__name__


def skin(batch: int, height: int = 40, width: int = 40) -> torch.Tensor:
    """Noise around the color of skin."""
    generator = torch.Generator().manual_seed(0)
    noise = 0.15 * torch.randn(batch, 3, height, width, generator=generator)
    return (torch.tensor([0.8, 0.6, 0.5]).view(3, 1, 1) + noise).clamp(0, 1)


@pytest.mark.parametrize("step", STEPS, ids=name)
@pytest.mark.parametrize("shape", [(32, 32), (33, 50), (50, 33)])
def test_images_stay_in_range_and_the_input_as_it_was(step, shape):
    images = skin(24, *shape)
    before = images.clone()
    changed = with_probability(step, 1.0)(images)
    assert changed.shape == images.shape
    assert changed.min() >= 0
    assert changed.max() <= 1
    assert torch.equal(images, before)


@pytest.mark.parametrize("step", STEPS, ids=name)
def test_the_probability_is_honoured_and_other_samples_are_left_alone(step):
    torch.manual_seed(0)
    images = skin(1, 16, 16).expand(1500, -1, -1, -1)
    changed = with_probability(step, 0.3)(images)
    drawn = step._params["batch_prob"] > 0.5
    assert abs(drawn.float().mean().item() - 0.3) < 4 * (0.3 * 0.7 / 1500) ** 0.5
    assert torch.equal(changed[~drawn], images[~drawn])


@pytest.mark.parametrize("step", STEPS, ids=name)
@pytest.mark.parametrize("p", [0.5, 1.0])
def test_the_same_draws_give_the_same_images_again(step, p):
    images = skin(9)
    changed = with_probability(step, p)(images)
    params = step._params
    step(images)
    assert torch.equal(step(images, params), changed)


@pytest.mark.parametrize("step", DRAWING, ids=name)
def test_samples_are_drawn_independently_or_alike_on_request(step):
    torch.manual_seed(1)
    images = skin(1).expand(6, -1, -1, -1)
    each = with_probability(step, 1.0)(images)
    assert not torch.equal(each[0], each[1])
    alike = with_probability(step, 1.0, same_on_batch=True)(images)
    step.same_on_batch = False
    assert all(torch.equal(alike[0], other) for other in alike[1:])


@pytest.mark.parametrize("step", STEPS, ids=name)
def test_a_sample_does_not_depend_on_the_rest_of_the_batch(step):
    images = skin(7)
    changed = with_probability(step, 1.0)(images)
    params = {key: value[2:3] for key, value in step._params.items() if key != "order"}
    params["forward_input_shape"] = torch.tensor([1, *images.shape[1:]])
    if "order" in step._params:
        params["order"] = step._params["order"]
    assert torch.allclose(step(images[2:3], params), changed[2:3], atol=1e-6)


@pytest.mark.parametrize("step", STEPS, ids=name)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_in_is_half_precision_out(step, dtype):
    images = skin(5).to(dtype)
    changed = with_probability(step, 1.0)(images)
    exact = step(images.float(), step._params)
    assert changed.dtype == dtype
    assert (changed.float() - exact).abs().max() <= 2**-8


@pytest.mark.parametrize("step", STEPS, ids=name)
def test_an_empty_batch_stays_empty(step):
    assert with_probability(step, 0.5)(torch.empty(0, 3, 24, 24)).shape == (0, 3, 24, 24)


@pytest.mark.parametrize("step", STEPS, ids=name)
def test_a_mask_is_passed_on_untouched(step):
    images, masks = skin(4), (torch.rand(4, 1, 40, 40) < 0.5).float()
    with_probability(step, 1.0)(images)
    assert torch.equal(step.transform_masks(masks, step._params, step.flags), masks)


@pytest.mark.parametrize("step", STEPS, ids=name)
def test_in_place_it_does_the_same_to_the_given_images(step):
    images = skin(9)
    torch.manual_seed(0)
    expected = with_probability(step, 0.6)(images)
    torch.manual_seed(0)
    assert step.apply_(images) is images
    assert torch.equal(images, expected)
