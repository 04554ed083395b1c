"""A learned temperature against the formulas in float64: value, its gradient and that of the embeddings."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from cases import make_embeddings, relative_error
from gravis_kernels import MultiViewNTXentLoss, SupConLoss, nt_xent_loss, supcon_loss
from gravis_kernels.nt_xent import reference as nt_xent
from gravis_kernels.supcon import reference as supcon
from test_distributed import own_part, run
from torch import Tensor, nn
from torch.nn.functional import normalize

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
LABELS = torch.tensor([3, 3, 3, 0, 0, 5])  # views of six sources get the labels of these


def nt_xent_formula(embeddings: Tensor, temperature: Any) -> Tensor:
    rows = normalize(embeddings, dim=2).flatten(0, 1)
    return nt_xent.anchor_losses(rows, embeddings.shape[1], temperature).mean()


def labels_of(embeddings: Tensor) -> Tensor:
    return LABELS.repeat_interleave(embeddings.shape[1]).to(embeddings.device)


def supcon_formula(embeddings: Tensor, temperature: Any) -> Tensor:
    rows = normalize(embeddings, dim=2).flatten(0, 1)
    return supcon.anchor_losses(rows, labels_of(embeddings), temperature).mean()


def supcon_of_views(embeddings: Tensor, **arguments: Any) -> Tensor:
    return supcon_loss(embeddings.flatten(0, 1), labels_of(embeddings), **arguments)


LOSSES: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor]]] = {
    "nt-xent": (nt_xent_loss, nt_xent_formula),
    "supcon": (supcon_of_views, supcon_formula),
}
each_loss = pytest.mark.parametrize(("loss", "formula"), LOSSES.values(), ids=LOSSES.keys())


def with_gradients(function: Callable[[Tensor, Tensor], Tensor], embeddings: Tensor, value: float) -> list[Tensor]:
    """The loss, its gradient for the embeddings and that for the temperature."""
    leaf = embeddings.detach().requires_grad_()
    temperature = torch.tensor(value, dtype=embeddings.dtype, device=embeddings.device, requires_grad=True)
    loss = function(leaf, temperature)
    return [loss.detach(), *torch.autograd.grad(loss, (leaf, temperature))]


@each_loss
@pytest.mark.parametrize("backend", ["streaming", "reference"])
@pytest.mark.parametrize("value", [0.05, 0.2, 1.0])
def test_value_and_gradients_equal_the_formula(loss: Any, formula: Any, backend: str, value: float) -> None:
    embeddings = make_embeddings(6, 3, 8, dtype=torch.float64)
    expected = with_gradients(formula, embeddings, value)
    actual = with_gradients(lambda z, t: loss(z, temperature=t, backend=backend), embeddings, value)
    for a, b in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-13)


@each_loss
@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_kernels_equal_the_formula(loss: Any, formula: Any, dtype: torch.dtype, limit: float) -> None:
    embeddings = make_embeddings(6, 3, 16, dtype=dtype).to(DEVICE)
    expected = with_gradients(formula, embeddings.double(), 0.2)
    actual = with_gradients(lambda z, t: loss(z, temperature=t, backend="triton"), embeddings, 0.2)
    for a, b in zip(actual, expected, strict=True):
        assert relative_error(a, b) < limit


@each_loss
def test_two_temperatures_of_one_value_give_one_loss_learned_or_not(loss: Any, formula: Any) -> None:
    embeddings = make_embeddings(6, 3, 8, dtype=torch.float64)
    learned = loss(embeddings, temperature=torch.tensor(0.3, dtype=torch.float64, requires_grad=True))
    assert learned.item() == pytest.approx(loss(embeddings, temperature=0.3).item(), rel=1e-12)
    constant = loss(embeddings, temperature=torch.tensor(0.3, dtype=torch.float64))
    assert constant.item() == pytest.approx(learned.item(), rel=1e-12)


@each_loss
def test_an_embedding_of_length_zero_gets_no_gradient_and_spoils_no_other(loss: Any, formula: Any) -> None:
    embeddings = make_embeddings(6, 3, 8, dtype=torch.float64)
    embeddings[1, 1] = 0
    for gradient in with_gradients(lambda z, t: loss(z, temperature=t), embeddings, 0.2):
        assert gradient.isfinite().all()
    _, gradient, _ = with_gradients(lambda z, t: loss(z, temperature=t), embeddings, 0.2)
    assert not gradient[1, 1].any()


@each_loss
def test_embeddings_that_are_not_normalized_are_used_as_given(loss: Any, formula: Any) -> None:
    rows = normalize(make_embeddings(6, 3, 8, dtype=torch.float64), dim=2)
    given, own = (
        with_gradients(lambda z, t, n=n: loss(z, temperature=t, normalize=n), rows, 0.2) for n in (False, True)
    )
    torch.testing.assert_close(given[0], own[0], rtol=1e-12, atol=0)
    torch.testing.assert_close(given[2], own[2], rtol=1e-10, atol=0)
    along = (given[1] * rows).sum(2, keepdim=True)
    torch.testing.assert_close(given[1] - along * rows, own[1], rtol=1e-9, atol=1e-13)


@each_loss
def test_extra_negatives_beside_a_learned_temperature_equal_the_formula(loss: Any, formula: Any) -> None:
    extra = make_embeddings(2, 3, 8, seed=5, dtype=torch.float64).flatten(0, 1)
    embeddings = make_embeddings(6, 3, 8, dtype=torch.float64)
    views = torch.arange(6).repeat_interleave(3)
    labels = labels_of(embeddings) if loss is supcon_of_views else views
    same = labels[:, None] == torch.cat([labels, torch.arange(100, 106)])  # extra negatives have a label of their own
    itself = torch.eye(18, 24, dtype=torch.bool)

    def dense(z: Tensor, t: Tensor) -> Tensor:
        rows = normalize(torch.cat([z.flatten(0, 1), extra]), dim=1)
        e = (rows[:18] @ rows.T / t).exp()
        total = e.masked_fill(itself, 0).sum(1, keepdim=True)
        if loss is nt_xent_loss:
            total = e + e.masked_fill(same, 0).sum(1, keepdim=True)
        positive = same & ~itself
        each = -((e / total).log() * positive).sum(1) / positive.sum(1).clamp(min=1)
        return each[positive.any(1)].mean()

    expected = with_gradients(dense, embeddings, 0.2)
    actual = with_gradients(lambda z, t: loss(z, temperature=t, extra_negatives=extra), embeddings, 0.2)
    for a, b in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-13)


@each_loss
def test_several_numbers_are_an_error(loss: Any, formula: Any) -> None:
    with pytest.raises(ValueError, match=r"temperature must be one number, got shape \(2,\)"):
        loss(make_embeddings(6, 3, 8), temperature=torch.ones(2))


@each_loss
@pytest.mark.parametrize("value", [0.0, -0.1, float("nan")])
def test_it_must_be_positive(loss: Any, formula: Any, value: float) -> None:
    """On a CPU; on a GPU the check would synchronize."""
    for extra in (None, torch.randn(4, 8)):
        with pytest.raises(ValueError, match=f"temperature must be positive and finite, got {value}"):
            loss(make_embeddings(6, 3, 8), temperature=torch.tensor(value), extra_negatives=extra)
    with pytest.raises(TypeError, match="temperature must be a number, got None"):
        loss(make_embeddings(6, 3, 8), temperature=None)


@each_loss
def test_compiles_as_one_graph_with_the_same_result(loss: Any, formula: Any) -> None:
    torch._dynamo.reset()
    embeddings = make_embeddings(6, 3, 8)

    def function(z: Tensor, logarithm: Tensor) -> Tensor:
        return loss(z, temperature=logarithm.exp())

    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    for a, b in zip(*(with_gradients(f, embeddings, -1.5) for f in (compiled, function)), strict=True):
        torch.testing.assert_close(a, b)


def test_a_parameter_of_a_module_is_trained_with_it() -> None:
    embeddings = make_embeddings(6, 3, 8)
    for module, arguments in (
        (MultiViewNTXentLoss(nn.Parameter(torch.tensor(0.2))), (embeddings,)),
        (SupConLoss(nn.Parameter(torch.tensor(0.2))), (embeddings.flatten(0, 1), labels_of(embeddings))),
    ):
        module(*arguments).backward()
        (parameter,) = module.parameters()
        assert parameter.grad


def shares_add_up(rank: int) -> None:
    whole = make_embeddings(6, 3, 8, dtype=torch.float64)
    own = whole[own_part(whole, [4, 2], rank)]
    expected = with_gradients(nt_xent_formula, whole, 0.2)
    group = dist.group.WORLD
    loss, _, share = with_gradients(lambda z, t: nt_xent_loss(z, temperature=t, process_group=group), own, 0.2)
    torch.testing.assert_close(loss, expected[0], rtol=1e-12, atol=0)
    dist.all_reduce(share)
    torch.testing.assert_close(share, expected[2], rtol=1e-10, atol=0)


def test_shares_of_several_processes_add_up_to_the_gradient(tmp_path: Path) -> None:
    run(shares_add_up, 2, tmp_path)


@each_loss
def test_a_scalar_in_float32_whatever_the_temperature_is_given_as(loss: Any, formula: Any) -> None:
    embeddings = make_embeddings(6, 3, 8)
    expected = loss(embeddings, temperature=0.2)
    for given in (torch.tensor([0.2]), torch.tensor(0.2, dtype=torch.float64), np.float32(0.2)):
        found = loss(embeddings, temperature=given)
        assert (found.shape, found.dtype) == ((), torch.float32)
        assert found.item() == pytest.approx(expected.item(), rel=1e-6)
        beside = loss(embeddings, temperature=given, extra_negatives=torch.ones(1, 8))
        assert (beside.shape, beside.dtype) == ((), torch.float32)


@each_loss
def test_half_precision_is_as_exact_as_with_a_constant(loss: Any, formula: Any) -> None:
    embeddings = make_embeddings(6, 3, 8, spread=0.3, dtype=torch.bfloat16)
    expected = with_gradients(formula, embeddings.double(), 0.1)
    actual = with_gradients(lambda z, t: loss(z, temperature=t.float(), backend="streaming"), embeddings, 0.1)
    assert relative_error(actual[0], with_gradients(formula, embeddings.double(), 0.10009765625)[0]) < 1e-5
    assert relative_error(actual[1], expected[1]) < 1e-2


def one_process_learns_nothing(rank: int) -> None:
    whole = make_embeddings(6, 3, 8, dtype=torch.float64)
    own = whole[own_part(whole, [4, 2], rank)]
    temperature = torch.tensor(0.2, dtype=torch.float64, requires_grad=rank == 0)
    loss = nt_xent_loss(own, temperature=temperature, process_group=dist.group.WORLD)
    torch.testing.assert_close(loss.detach(), nt_xent_formula(whole, 0.2), rtol=1e-12, atol=0)


def test_a_process_that_learns_nothing_keeps_step_with_one_that_does(tmp_path: Path) -> None:
    run(one_process_learns_nothing, 2, tmp_path)
