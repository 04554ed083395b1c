"""Properties that every loss of the family has whatever the embeddings are."""

import pytest
import torch
from cases import HINGE, SETTINGS, evaluate, make_embeddings, relative_error
from gravis_kernels import GravisSettings
from gravis_kernels.gravis import streaming
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

BACKENDS = ["streaming", "reference"]

few = settings(max_examples=15, deadline=None, derandomize=True)
losses = st.sampled_from(sorted(SETTINGS)).map(SETTINGS.__getitem__)


@st.composite
def batches(draw: st.DrawFn) -> Tensor:
    return make_embeddings(
        draw(st.integers(2, 6)),
        draw(st.integers(2, 5)),
        draw(st.integers(2, 12)),
        spread=draw(st.floats(0.1, 3)),
        seed=draw(st.integers(0, 1000)),
        dtype=torch.float64,
    )


def close(actual: Tensor, expected: Tensor) -> bool:
    return bool((actual - expected).norm() <= 1e-10 * expected.norm() + 1e-14)


@pytest.mark.parametrize("backend", BACKENDS)
@given(embeddings=batches(), loss=losses, data=st.data())
@few
def test_order_of_sources_does_not_matter(backend: str, embeddings: Tensor, loss: dict, data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(embeddings))))
    before = evaluate(embeddings, backend=backend, **loss)
    after = evaluate(embeddings[order], backend=backend, **loss)
    assert close(after.loss, before.loss)
    assert close(after.gradient, before.gradient[order])


@pytest.mark.parametrize("backend", BACKENDS)
@given(embeddings=batches(), loss=losses, data=st.data())
@few
def test_order_of_views_within_a_source_does_not_matter(
    backend: str, embeddings: Tensor, loss: dict, data: st.DataObject
) -> None:
    order = data.draw(st.permutations(range(embeddings.shape[1])))
    shuffled = embeddings.clone()
    shuffled[0] = embeddings[0, order]
    before = evaluate(embeddings, backend=backend, **loss)
    after = evaluate(shuffled, backend=backend, **loss)
    assert close(after.loss, before.loss)
    assert close(after.gradient[1:], before.gradient[1:])
    assert close(after.gradient[0], before.gradient[0, order])


@pytest.mark.parametrize("backend", BACKENDS)
@given(embeddings=batches(), loss=losses, seed=st.integers(0, 100))
@few
def test_rotating_all_embeddings_rotates_the_gradient(backend: str, embeddings: Tensor, loss: dict, seed: int) -> None:
    dim = embeddings.shape[2]
    generator = torch.Generator().manual_seed(seed)
    rotation, _ = torch.linalg.qr(torch.randn(dim, dim, dtype=torch.float64, generator=generator))
    before = evaluate(embeddings, backend=backend, **loss)
    after = evaluate(embeddings @ rotation, backend=backend, **loss)
    assert close(after.loss, before.loss)
    assert close(after.gradient, before.gradient @ rotation)


@pytest.mark.parametrize("backend", BACKENDS)
@given(embeddings=batches(), loss=losses)
@few
def test_gradient_is_orthogonal_to_every_normalized_embedding(backend: str, embeddings: Tensor, loss: dict) -> None:
    gradient = evaluate(embeddings, backend=backend, **loss).gradient
    along = (gradient * torch.nn.functional.normalize(embeddings, dim=2)).sum(2)
    assert along.abs().max() <= 1e-12 * (1 + gradient.abs().max())


@pytest.mark.parametrize("backend", BACKENDS)
@given(embeddings=batches(), loss=losses, data=st.data())
@few
def test_lengths_of_normalized_embeddings_do_not_matter(
    backend: str, embeddings: Tensor, loss: dict, data: st.DataObject
) -> None:
    length = data.draw(st.floats(0.01, 100))
    assert close(
        evaluate(embeddings * length, backend=backend, **loss).loss,
        evaluate(embeddings, backend=backend, **loss).loss,
    )


@given(embeddings=batches(), loss=losses)
@few
def test_streaming_equals_the_reference(embeddings: Tensor, loss: dict) -> None:
    expected = evaluate(embeddings, backend="reference", **loss)
    actual = evaluate(embeddings, backend="streaming", **loss)
    assert close(actual.loss, expected.loss)
    assert close(actual.gradient, expected.gradient)


@given(embeddings=batches(), temperature=st.floats(0.02, 10))
@few
def test_attention_of_an_anchor_sums_to_one_without_its_own_view(embeddings: Tensor, temperature: float) -> None:
    positives = (embeddings @ embeddings.mT).flatten(0, 1)
    attention = streaming.attention_weights(positives, GravisSettings(attention_temperature=temperature))
    assert close(attention.sum(1), torch.ones(len(attention), dtype=torch.float64))
    assert not attention.unflatten(0, embeddings.shape[:2]).diagonal(dim1=1, dim2=2).any()


@given(embeddings=batches())
@few
def test_a_very_high_attention_temperature_is_uniform_attention(embeddings: Tensor) -> None:
    high = evaluate(embeddings, **HINGE | {"margin": 1.0, "attention_temperature": 1e9})
    uniform = evaluate(embeddings, **HINGE | {"margin": 1.0, "attention": "uniform"})
    assert relative_error(high.loss + 1, uniform.loss + 1) < 1e-8
