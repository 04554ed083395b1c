"""NT-Xent against its own formula and against SimCLR's cross-entropy for two views."""

import pytest
import torch
from cases import TEMPERATURES, make_embeddings, relative_error
from gravis_kernels import nt_xent_loss
from gravis_kernels.nt_xent.reference import anchor_losses
from torch.nn.functional import cross_entropy, normalize


@pytest.mark.parametrize("backend", ["streaming", "reference"])
@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("views", [2, 5])
def test_loss_and_gradient_equal_the_formula(backend: str, temperature: float, views: int) -> None:
    embeddings = make_embeddings(9, views, 16, dtype=torch.float64).requires_grad_()
    expected = anchor_losses(normalize(embeddings, dim=2).flatten(0, 1), views, temperature).mean()
    actual = nt_xent_loss(embeddings, temperature=temperature, backend=backend)
    assert actual.item() == pytest.approx(expected.item(), rel=1e-12)
    gradients = [torch.autograd.grad(loss, embeddings)[0] for loss in (actual, expected)]
    assert relative_error(*gradients) < 1e-12


def test_two_views_are_the_usual_cross_entropy() -> None:
    embeddings = make_embeddings(6, 2, 8, dtype=torch.float64)
    z = normalize(embeddings, dim=2).flatten(0, 1)
    logits = (z @ z.T / 0.3).fill_diagonal_(-torch.inf)
    other_view = torch.arange(12) ^ 1
    assert nt_xent_loss(embeddings, temperature=0.3).item() == pytest.approx(
        cross_entropy(logits, other_view).item(), rel=1e-12
    )


def test_temperature_must_be_positive() -> None:
    with pytest.raises(ValueError, match="temperature must be positive and finite, got 0"):
        nt_xent_loss(torch.randn(2, 2, 4), temperature=0)


def test_integers_are_refused_whatever_the_temperature_is() -> None:
    for temperature in (0.2, torch.tensor(0.2)):
        with pytest.raises(ValueError, match="embeddings must be float32, bfloat16, float16 or float64"):
            nt_xent_loss(torch.ones(2, 2, 4, dtype=torch.int64), temperature=temperature)
