"""The streaming backend against the dense reference in float64."""

import pytest
import torch
from cases import SETTINGS, SHAPES, TEMPERATURES, evaluate, make_embeddings, relative_error
from gravis_kernels.gravis import streaming


@pytest.fixture(params=[streaming.TILE, 64], ids=["one-tile", "many-tiles"])
def tile(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(streaming, "TILE", request.param)
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
    embeddings = make_embeddings(*shape, dtype=torch.float64)
    expected = evaluate(embeddings, backend="reference", **settings)
    actual = evaluate(embeddings.float(), backend="streaming", **settings)
    assert relative_error(actual.loss, expected.loss) < 1e-5
    assert relative_error(actual.gradient, expected.gradient) < 1e-5


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
def test_temperatures_with_and_without_normalisation(
    settings: dict, temperature: float, normalize: bool, tile: int
) -> None:
    embeddings = make_embeddings(23, 3, 24, dtype=torch.float64) / 4
    arguments = {**settings, "temperature": temperature, "normalize": normalize}
    expected = evaluate(embeddings, backend="reference", **arguments)
    actual = evaluate(embeddings, backend="streaming", **arguments)
    assert relative_error(actual.loss, expected.loss) < 1e-12
    assert relative_error(actual.gradient, expected.gradient) < 1e-12
