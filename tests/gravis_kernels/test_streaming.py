"""The streaming backend against the dense reference in float64."""

import threading
from collections.abc import Callable

import pytest
import torch
from cases import (
    HINGE,
    SETTINGS,
    SHAPES,
    TEMPERATURES,
    evaluate,
    make_embeddings,
    relative_error,
    surrounded_by_nan,
    without_rounding,
)
from gravis_kernels import GravisSettings, gravis_loss, nt_xent_loss
from gravis_kernels.gravis import logsumexp, pairs, streaming
from gravis_kernels.gravis.reference import anchor_losses
from torch import Tensor
from torch.nn.functional import normalize


@pytest.fixture(params=[pairs.TILE, 64], ids=["one-tile", "many-tiles"])
def tile(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(pairs, "TILE", request.param)
    return request.param


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
@pytest.mark.usefixtures("tile")
def test_float64_equals_the_reference(shape: tuple[int, int, int], settings: dict) -> None:
    embeddings = make_embeddings(*shape, dtype=torch.float64)
    expected = evaluate(embeddings, backend="reference", **settings)
    actual = evaluate(embeddings, backend="streaming", **settings)
    assert relative_error(actual.loss, expected.loss) < 1e-12
    assert relative_error(actual.gradient, expected.gradient) < 1e-12


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
def test_float32_error_stays_below_one_in_a_hundred_thousand(
    shape: tuple[int, int, int], settings: dict, tile: int
) -> None:
    embeddings, normalized = make_embeddings(*shape, dtype=torch.float64), settings["penalty"] != "hinge"
    if not normalized:
        embeddings = without_rounding(normalize(embeddings, dim=2).flatten(0, 1)).view(shape)
    expected = evaluate(embeddings, backend="reference", normalize=normalized, **settings)
    actual = evaluate(embeddings.float(), backend="streaming", normalize=normalized, **settings)
    assert relative_error(actual.loss, expected.loss) < 1e-5
    assert relative_error(actual.gradient, expected.gradient) < 1e-5


@pytest.mark.parametrize("seed", range(3))
def test_float32_hinge_of_640_views_equals_float64_where_no_similarity_rounds(seed: int) -> None:
    embeddings = make_embeddings(32, 20, 128, spread=1.0, seed=seed)
    rows, settings = without_rounding(normalize(embeddings, dim=2).flatten(0, 1)), GravisSettings(**HINGE)
    _, expected = streaming.loss_and_gradient(rows.double(), 0, 640, 20, settings, True)
    _, actual = streaming.loss_and_gradient(rows, 0, 640, 20, settings, True)
    assert relative_error(actual, expected) < 2e-6


@pytest.mark.parametrize("normalized", [True, False])
@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
def test_temperatures_with_and_without_normalization(
    settings: dict, temperature: float, normalized: bool, tile: int
) -> None:
    embeddings = make_embeddings(23, 3, 24, dtype=torch.float64) / 4
    arguments = {**settings, "temperature": temperature, "normalize": normalized}
    expected = evaluate(embeddings, backend="reference", **arguments)
    actual = evaluate(embeddings, backend="streaming", **arguments)
    assert relative_error(actual.loss, expected.loss) < 1e-12
    assert relative_error(actual.gradient, expected.gradient) < 1e-12


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_at_most_twice_as_wrong_as_the_reference_in_it(settings: dict, dtype: torch.dtype) -> None:
    embeddings = make_embeddings(11, 3, 32, dtype=torch.float64)
    exact = evaluate(embeddings, backend="reference", **settings)
    actual = evaluate(embeddings.to(dtype), backend="streaming", **settings)
    leaf = embeddings.to(dtype).requires_grad_()
    rows = torch.nn.functional.normalize(leaf, dim=2).flatten(0, 1)
    loss = anchor_losses(rows, 3, GravisSettings(**settings)).mean()
    (gradient,) = torch.autograd.grad(loss, leaf)
    assert relative_error(actual.gradient, exact.gradient) <= 2 * relative_error(gradient, exact.gradient)
    assert abs(actual.loss - exact.loss) <= 2 * abs(loss - exact.loss) + 1e-6


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
def test_nan_around_the_input_changes_nothing(settings: dict, tile: int) -> None:
    embeddings = make_embeddings(43, 3, 16)
    plain = evaluate(embeddings, backend="streaming", **settings)
    surrounded = evaluate(surrounded_by_nan(embeddings), backend="streaming", **settings)
    assert torch.equal(plain.loss, surrounded.loss)
    assert torch.equal(plain.gradient, surrounded.gradient)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
def test_nan_in_one_embedding_shows_in_the_loss(settings: dict) -> None:
    embeddings = make_embeddings(5, 3, 16)
    embeddings[2, 1, 7] = torch.nan
    assert gravis_loss(embeddings, backend="streaming", **settings).isnan()


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
def test_two_runs_give_the_same_bits(settings: dict) -> None:
    embeddings = make_embeddings(43, 10, 16)
    first, second = (evaluate(embeddings, backend="streaming", **settings) for _ in range(2))
    assert torch.equal(first.loss, second.loss)
    assert torch.equal(first.gradient, second.gradient)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
@pytest.mark.parametrize("length", [1e-3, 30.0, 1e4])
def test_similarities_of_any_size(settings: dict, length: float) -> None:
    embeddings = make_embeddings(9, 4, 8, dtype=torch.float64) * length
    arguments = {**settings, "normalize": False, "temperature": 0.05}
    expected = evaluate(embeddings, backend="reference", **arguments)
    for dtype in (torch.float64, torch.float32):
        actual = evaluate(embeddings.to(dtype), backend="streaming", **arguments)
        assert actual.loss.isfinite()
        assert actual.gradient.isfinite().all()
    actual = evaluate(embeddings, backend="streaming", **arguments)
    assert relative_error(actual.loss, expected.loss) < 1e-10
    assert (actual.gradient - expected.gradient).norm() <= 1e-9 * expected.gradient.norm() + 1e-12


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
def test_own_rows_get_the_gradient_of_the_whole_loss(settings: dict, tile: int) -> None:
    views, rows = 3, torch.nn.functional.normalize(make_embeddings(40, 3, 8, dtype=torch.float64), dim=2)
    columns = rows.flatten(0, 1)
    whole, gradient = streaming.loss_and_gradient(columns, 0, 120, views, GravisSettings(**settings), True)
    shares = []
    for start, count in ((0, 30), (30, 3), (33, 87)):
        share, own = streaming.loss_and_gradient(columns, start, count, views, GravisSettings(**settings), True)
        assert relative_error(own, gradient[start : start + count]) < 1e-12
        only_share, nothing = streaming.loss_and_gradient(
            columns, start, count, views, GravisSettings(**settings), False
        )
        assert nothing is None
        assert only_share.item() == pytest.approx(share.item(), rel=1e-13)
        shares.append(share)
    assert sum(shares).item() == pytest.approx(whole.item(), rel=1e-13)


def test_gradient_is_zero_when_every_margin_is_satisfied(tile: int) -> None:
    embeddings = torch.eye(50).repeat_interleave(3, dim=0).view(50, 3, 50)  # sources at right angles
    result = evaluate(embeddings, backend="streaming", **HINGE | {"margin": 0.9})
    assert result.loss == 0
    assert not result.gradient.any()


@pytest.mark.parametrize("margin", [0.05, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("spread", [0.2, 1.0, 5.0])
def test_tiles_that_violate_no_some_and_all_margins(margin: float, spread: float, tile: int) -> None:
    embeddings = make_embeddings(45, 3, 16, spread=spread, dtype=torch.float64)
    expected = evaluate(embeddings, backend="reference", **HINGE | {"margin": margin})
    actual = evaluate(embeddings, backend="streaming", **HINGE | {"margin": margin})
    assert abs(actual.loss - expected.loss) <= 1e-13
    assert (actual.gradient - expected.gradient).norm() <= 1e-12 * expected.gradient.norm()


def test_slope_of_the_hinge_at_zero_is_zero() -> None:
    embeddings = torch.eye(4).repeat_interleave(2, dim=0).view(4, 2, 4)
    result = evaluate(embeddings, backend="streaming", **HINGE | {"margin": 1.0, "attention": "uniform"})
    assert result.loss == 0
    assert not result.gradient.any()


def test_equal_thresholds_are_counted_each(tile: int) -> None:
    embeddings = torch.eye(30, dtype=torch.float64).repeat_interleave(4, dim=0).view(30, 4, 30)
    # every threshold is 1 - 1.25, every negative 0, so each triplet lacks a quarter
    result = evaluate(embeddings, backend="streaming", **HINGE | {"margin": 1.25})
    assert result.loss == pytest.approx(0.25, rel=1e-14)


@pytest.mark.parametrize("loss", [gravis_loss, nt_xent_loss])
@pytest.mark.usefixtures("tile")
def test_exponentials_that_are_kept_or_computed_again_give_the_same_bits(
    loss: Callable[..., Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    def value_and_gradient() -> tuple[Tensor, Tensor]:
        embeddings = make_embeddings(13, 7, 32).requires_grad_()
        value = loss(embeddings, extra_negatives=make_embeddings(5, 2, 32).flatten(0, 1))
        return value, torch.autograd.grad(value, embeddings)[0]

    kept = value_and_gradient()
    monkeypatch.setattr(logsumexp, "KEPT", 0)
    assert all(torch.equal(*both) for both in zip(kept, value_and_gradient(), strict=True))


def test_memory_first_used_in_inference_mode_serves_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logsumexp, "_memory", threading.local())
    embeddings = make_embeddings(4, 3, 16)
    with torch.inference_mode():
        expected = gravis_loss(embeddings)
    assert torch.equal(gravis_loss(embeddings.clone().requires_grad_()), expected)
