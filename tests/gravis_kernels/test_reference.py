"""The dense reference against values computed by hand and against plain loops."""

import math

import pytest
import torch
from cases import HINGE, SETTINGS, make_embeddings
from gravis_kernels import GravisSettings
from gravis_kernels.gravis.reference import anchor_losses
from torch import Tensor


def right_angles() -> Tensor:
    """Two sources of two equal views, at right angles: s_ij = 1 within a source, 0 between sources."""
    return torch.tensor([[1, 0], [1, 0], [0, 1], [0, 1]], dtype=torch.float64)


def turned_view() -> Tensor:
    """The second view of the first source is turned by 60 degrees towards the second source."""
    embeddings = right_angles()
    embeddings[1] = torch.tensor([0.5, math.sqrt(0.75)])
    return embeddings


@pytest.mark.parametrize(("margin", "expected"), [(0.5, 0.0), (1.0, 0.0), (1.25, 0.25)])
def test_hinge_is_what_the_margin_lacks(margin: float, expected: float) -> None:
    losses = anchor_losses(right_angles(), 2, GravisSettings(**HINGE | {"margin": margin}))
    torch.testing.assert_close(losses, torch.full((4,), expected, dtype=torch.float64))


def test_mean_over_negatives_and_anchors_by_hand() -> None:
    losses = anchor_losses(turned_view(), 2, GravisSettings(**HINGE))
    # s = 0.5 to the positive; the negatives of view 0 are at 0, those of view 1 at sqrt(0.75);
    # views 2 and 3 have positives at 1 and negatives at 0 and sqrt(0.75)
    expected = [0.0, math.sqrt(0.75), (math.sqrt(0.75) - 0.5) / 2, (math.sqrt(0.75) - 0.5) / 2]
    torch.testing.assert_close(losses, torch.tensor(expected, dtype=torch.float64))


def test_soft_hardest_negative_by_hand() -> None:
    settings = GravisSettings(margin=0.3, negatives="logsumexp", penalty="softplus", temperature=0.5)
    losses = anchor_losses(right_angles(), 2, settings)
    hardest = 0.5 * math.log(2)  # two negatives at 0
    expected = 0.5 * math.log1p(math.exp((hardest - 1 + 0.3) / 0.5))
    torch.testing.assert_close(losses, torch.full((4,), expected, dtype=torch.float64))


def test_attention_prefers_the_similar_positive() -> None:
    embeddings = torch.tensor([[1, 0], [1, 0], [0, 1], [-1, 0], [-1, 0], [-1, 0]], dtype=torch.float64)
    settings = GravisSettings(**HINGE | {"margin": 2.0, "attention_temperature": 0.5})
    weight = math.exp(2) / (math.exp(2) + 1)  # of the positive at similarity 1 against the one at 0
    # negatives of view 0 are at -1: x = -1 - 1 + 2 = 0 and -1 - 0 + 2 = 1
    assert anchor_losses(embeddings, 3, settings)[0].item() == pytest.approx(1 - weight)


@pytest.mark.parametrize("temperature", [0.2, 1.0])
def test_rank_attention_equals_its_formula_in_loops(temperature: float) -> None:
    views, z = 3, make_embeddings(3, 3, 4, dtype=torch.float64).flatten(0, 1)
    s = (z @ z.T).tolist()

    def sigma(x: float) -> float:
        return 1 / (1 + math.exp(-x / temperature))

    for i, loss in enumerate(
        anchor_losses(z, views, GravisSettings(attention="rank", temperature=temperature)).tolist()
    ):
        positives = [j for j in range(9) if j // views == i // views]
        negatives = [n for n in range(9) if n // views != i // views]
        expected = 0.0
        for j in positives:
            above = sum(sigma(s[i][n] - s[i][j]) for n in negatives)
            rank = 1 + sum(sigma(s[i][k] - s[i][j]) for k in positives if k != j)
            expected += above / (rank + above) / views
        assert loss == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
@pytest.mark.parametrize("shape", [(2, 2, 3), (3, 3, 4)], ids=str)
def test_gradcheck(settings: dict, shape: tuple[int, int, int]) -> None:
    if settings.get("detach_attention"):
        settings = {
            **settings,
            "attention": "uniform",
            "detach_attention": False,
        }  # finite differences see a_ij
    embeddings = torch.nn.functional.normalize(make_embeddings(*shape, dtype=torch.float64), dim=2)
    leaf = embeddings.flatten(0, 1).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: anchor_losses(z, shape[1], GravisSettings(**settings)), (leaf,))


def test_detached_attention_is_constant() -> None:
    z = make_embeddings(3, 3, 4, dtype=torch.float64).flatten(0, 1).requires_grad_()
    attention = (z.detach() @ z.detach().T / 0.1).view(9, 3, 3)[torch.arange(9), torch.arange(9) // 3]
    attention.view(3, 3, 3).diagonal(dim1=1, dim2=2).fill_(-torch.inf)
    attention = attention.softmax(1)
    (expected,) = torch.autograd.grad(_weighted_by(attention, z), z)
    settings = GravisSettings(
        margin=0.5, attention_temperature=0.1, negatives="mean", penalty="softplus", detach_attention=True
    )
    (actual,) = torch.autograd.grad(anchor_losses(z, 3, settings).sum(), z)
    torch.testing.assert_close(actual, expected)


def _weighted_by(attention: Tensor, z: Tensor) -> Tensor:
    """Sum of l_i for 3 x 3 views, softplus penalty, margin 0.5 and temperature 0.2, with the given attention."""
    s, total = z @ z.T, z.new_zeros(())
    for i in range(9):
        for j in range(3):
            for n in range(9):
                if n // 3 != i // 3:
                    x = s[i, n] - s[i, i // 3 * 3 + j] + 0.5
                    total = total + attention[i, j] * 0.2 * torch.log1p(torch.exp(x / 0.2)) / 6
    return total


def test_slope_of_the_hinge_at_zero_is_zero() -> None:
    z = right_angles().requires_grad_()  # with margin 1 every triplet is exactly at the kink
    (gradient,) = torch.autograd.grad(anchor_losses(z, 2, GravisSettings(**HINGE | {"margin": 1.0})).sum(), z)
    assert not gradient.any()


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_any_dtype(settings: dict, dtype: torch.dtype) -> None:
    z = torch.nn.functional.normalize(make_embeddings(4, 3, 16, dtype=torch.float64), dim=2).flatten(0, 1)
    expected = anchor_losses(z, 3, GravisSettings(**settings)).mean()
    actual = anchor_losses(z.to(dtype), 3, GravisSettings(**settings)).mean()
    assert actual.dtype == dtype
    assert actual.item() == pytest.approx(expected.item(), rel=20 * torch.finfo(dtype).eps)
