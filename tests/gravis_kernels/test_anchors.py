"""Labels, weights, single anchors and learned temperatures of every loss, against formulas anchor by anchor."""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from cases import SETTINGS, loop_over_anchors, make_embeddings
from gravis_kernels import (
    GravisSettings,
    LearnedTemperature,
    anchors,
    clip_loss,
    gravis_loss,
    nt_xent_loss,
    siglip_loss,
    supcon_loss,
)
from gravis_kernels.gravis import reference
from test_distributed import run
from test_extra_negatives import queue
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

LABELS = torch.tensor([5, -2, 5, 7, 5, -2, 0, 7, -2, -2, 5])  # 1 to 4 rows, in no order


def rows(count: int = len(LABELS)) -> Tensor:
    return make_embeddings(count, 1, 6, dtype=torch.float64)[:, 0].requires_grad_()


def assert_same(actual: Tensor, expected: Tensor, *leaves: Tensor) -> None:
    """Values, and gradients of a sum of the values by random factors."""
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-14)
    factors = torch.randn(actual.shape, dtype=actual.dtype, generator=torch.Generator().manual_seed(3))
    found, known = (
        torch.autograd.grad((losses * factors).sum(), leaves, retain_graph=True, materialize_grads=True)
        for losses in (actual, expected)
    )
    torch.testing.assert_close(found, known, rtol=1e-9, atol=1e-12)


@pytest.fixture(params=[anchors.BLOCK, 30], ids=["one block", "many blocks"])
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anchors, "BLOCK", request.param)


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("extra", [0, 3])
def test_labels_equal_the_formula(name: str, extra: int) -> None:
    leaf, given = rows(), {"extra_negatives": queue(extra, 6), **SETTINGS[name]}
    losses, has_positives = loop_over_anchors(leaf, LABELS, queue(extra, 6), GravisSettings(**SETTINGS[name]))
    assert_same(gravis_loss(leaf, LABELS, reduction="none", **given), losses, leaf)
    assert_same(gravis_loss(leaf, LABELS, **given), losses[has_positives].mean(), leaf)


def test_values_worked_out_by_hand() -> None:
    """Two rows along x, one along y, all with positives but the last: s is 1 or 0."""
    embeddings = torch.tensor([[1.0, 0], [2, 0], [0, 3], [0, -1]], dtype=torch.float64)
    labels = torch.tensor([0, 0, 1, 2])
    soft = 0.2 * math.log(2)  # both negatives at s = 0
    each = 0.2 * math.log1p(math.exp((soft - 1) / 0.2))
    assert gravis_loss(embeddings, labels, reduction="none").tolist() == pytest.approx([each, each, 0, 0])
    assert gravis_loss(embeddings, labels).item() == pytest.approx(each)
    hinge = gravis_loss(embeddings, labels, penalty="hinge", margin=1.25)
    assert hinge.item() == pytest.approx(0.25)
    pair = math.log1p(2 * math.exp(-5))
    assert nt_xent_loss(embeddings, labels).item() == pytest.approx(pair)
    labels = torch.tensor([0, 0, 1, 1])  # the last two have s = -1, and negatives at 0
    assert nt_xent_loss(embeddings, labels).item() == pytest.approx((pair + math.log1p(2 * math.exp(5))) / 2)
    weight = torch.tensor([1.0, 3, 0, 2])
    expected = (4 * pair + 2 * math.log1p(2 * math.exp(5))) / 6
    assert nt_xent_loss(embeddings, labels, weight=weight).item() == pytest.approx(expected)
    keys = torch.tensor([[1.0, 0], [0, 1], [0, 1], [1, 0]], dtype=torch.float64)
    own = torch.tensor([1.0, 0, 1, 0], dtype=torch.float64)  # similarity of a query to its key
    bank = torch.tensor([[0.0, 1]], dtype=torch.float64)
    to_bank = torch.tensor([0.0, 0, 1, -1], dtype=torch.float64)
    losses = nt_xent_loss(embeddings, keys=keys, queue=bank, temperature=1.0, reduction="none")
    assert losses.tolist() == pytest.approx(torch.log1p((to_bank - own).exp()).tolist())


def test_a_batch_of_equal_labels_or_without_positives_is_zero() -> None:
    """By their formulas: no negative exceeds a positive, or there is nothing to average."""
    leaf = rows()
    for loss in (gravis_loss, partial(gravis_loss, penalty="hinge"), nt_xent_loss):
        for labels in (torch.zeros_like(LABELS), torch.arange(len(LABELS))):
            value = loss(leaf, labels)
            assert value == 0
            assert not torch.autograd.grad(value, leaf)[0].any()


LOSSES: dict[str, Callable[..., Tensor]] = {
    "gravis": lambda z, **more: gravis_loss(z.unflatten(0, (-1, 2)), **_views(more)),
    "gravis-hinge": lambda z, **more: gravis_loss(z, LABELS[:10], penalty="hinge", **more),
    "nt-xent": lambda z, **more: nt_xent_loss(z.unflatten(0, (-1, 2)), **_views(more)),
    "supcon": lambda z, **more: supcon_loss(z, LABELS[:10], **more),
    "clip": lambda z, **more: clip_loss(normalize(z), normalize(z.roll(1, 1)), 5.0, **more),
    "siglip": lambda z, **more: siglip_loss(normalize(z), normalize(z.roll(1, 1)), 5.0, -1.0, **more),
}
each_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES.keys())


def _views(more: dict[str, Any]) -> dict[str, Any]:
    weight = more.get("weight")
    return more if weight is None else more | {"weight": weight.unflatten(0, (-1, 2))}


@pytest.mark.usefixtures("block")
@each_loss
def test_the_loss_is_the_mean_of_single_anchors(loss: Callable[..., Tensor]) -> None:
    leaf = rows(10)
    losses = loss(leaf, reduction="none").flatten()
    assert losses.shape == (10,)
    anchors_with_a_loss = losses != 0
    assert_same(losses[anchors_with_a_loss].mean(), loss(leaf), leaf)
    weight = torch.arange(10.0)
    share = weight * anchors_with_a_loss
    assert_same(loss(leaf, weight=weight), (loss(leaf, reduction="none").flatten() * share).sum() / share.sum(), leaf)
    assert torch.equal(loss(leaf, weight=weight, reduction="none").flatten(), losses * weight)
    with torch.no_grad():
        assert torch.equal(loss(leaf, reduction="none").flatten(), losses)


@each_loss
def test_bad_weights_and_reductions_are_errors(loss: Callable[..., Tensor]) -> None:
    leaf = rows(10)
    with pytest.raises(ValueError, match="weight must have shape"):
        loss(leaf, weight=torch.ones(8))
    with pytest.raises(ValueError, match=r"weight must be at least 0, got -1\.0"):
        loss(leaf, weight=torch.full((10,), -1.0))
    with pytest.raises(ValueError, match="reduction must be one of mean, none, got 'sum'"):
        loss(leaf, reduction="sum")
    with pytest.raises(ValueError, match=r'backend "streaming" computes .*: use backend "auto"'):
        loss(leaf, reduction="none", backend="streaming")


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("extra", [0, 3])
def test_a_learned_temperature_gets_the_gradient_of_the_formula(name: str, extra: int) -> None:
    leaf, more = make_embeddings(4, 3, 6, dtype=torch.float64).requires_grad_(), queue(extra, 6)
    settings = {key: value for key, value in SETTINGS[name].items() if key != "temperature"}
    t = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    formula = reference.anchor_losses(
        normalize(leaf, dim=2).flatten(0, 1), 3, GravisSettings(temperature=t, **settings), normalize(more)
    )
    assert_same(gravis_loss(leaf, extra_negatives=more, temperature=t, **settings), formula.mean(), leaf, t)


@pytest.mark.parametrize("name", ["gravis", "nt-xent", "clip", "siglip"])
def test_compiles_as_one_graph_unless_shapes_depend_on_labels(name: str) -> None:
    torch._dynamo.reset()
    leaf = rows(10)

    def total(z: Tensor) -> Tensor:
        return LOSSES[name](z, reduction="none").square().sum()

    compiled = torch.compile(total, fullgraph=True, backend="aot_eager")
    values, gradients = zip(*[(f(leaf), torch.autograd.grad(f(leaf), leaf)[0]) for f in (compiled, total)], strict=True)
    torch.testing.assert_close(*values)
    torch.testing.assert_close(*gradients)


def test_a_temperature_is_kept_within_its_bounds_and_comes_back() -> None:
    temperature = LearnedTemperature(0.1, bounds=(0.05, 0.5))
    assert temperature().item() == pytest.approx(0.1)
    for far, bound in ((-9.0, 0.05), (9.0, 0.5)):
        nn.init.constant_(temperature.log, far)
        value = temperature()
        assert value.item() == pytest.approx(bound)
        (gradient,) = torch.autograd.grad(value, temperature.log)
        assert gradient.item() == pytest.approx(bound), "of exp, so that a step can lead back"
    with pytest.raises(ValueError, match=r"initial must be within bounds, from 0.05 to 0.5, got 0.7"):
        LearnedTemperature(0.7, bounds=(0.05, 0.5))


def test_keys_without_a_queue_are_the_cross_entropy_of_moco_v3() -> None:
    queries, keys = rows(6), rows(7)[1:].detach().requires_grad_()
    logits = normalize(queries) @ normalize(keys).T / 0.2
    assert_same(nt_xent_loss(queries, keys=keys), cross_entropy(logits, torch.arange(6)), queries, keys)
    more = normalize(queue(3, 6))
    logits = torch.cat([logits, normalize(queries) @ more.T / 0.2], 1)
    expected = cross_entropy(logits, torch.arange(6))
    assert_same(nt_xent_loss(queries, keys=keys, extra_negatives=more), expected, queries, keys)


def test_a_query_and_its_key_move_no_further_apart_for_the_other_keys_beside_a_queue() -> None:
    queries, keys = rows(4), rows(8)[4:].detach()
    losses = nt_xent_loss(queries, keys=keys, queue=queue(5, 6), reduction="none")
    one = [nt_xent_loss(q[None], keys=k[None], queue=queue(5, 6)) for q, k in zip(queries, keys, strict=True)]
    assert_same(losses, torch.stack(one), queries)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"keys": torch.ones(5, 6)}, r"keys must have the shape of the queries, \(4, 6\), got \(5, 6\)"),
        ({"keys": torch.ones(4, 6)}, "references must be .* torch.float64, on cpu like the embeddings"),
        ({"keys": torch.ones(4, 6), "labels": LABELS[:4]}, "keys replace labels and references"),
        ({"keys": rows(4), "queue": torch.ones(4, 7)}, r"queue must be \(any, 6\), got shape \(4, 7\)"),
        ({"labels": LABELS[:4], "references": (torch.ones(4), LABELS[:4])}, "must be .rows, dim., got shape"),
        ({"labels": LABELS}, "labels must have shape"),
    ],
)
def test_bad_keys_and_references_are_errors(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        nt_xent_loss(rows(4), **given)


def equals_one_process(rank: int) -> None:
    group = dist.group.WORLD
    whole, other = rows(11), rows(22)[11:].detach().requires_grad_()
    t = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    own = slice(0, 4) if rank == 0 else slice(4, 11)
    weight = torch.arange(11.0)
    calls: dict[str, Callable[..., Tensor]] = {
        "labels": lambda part, **more: gravis_loss(whole[part], LABELS[part], extra_negatives=queue(3, 6), **more),
        "learned": lambda part, **more: gravis_loss(whole[part], LABELS[part], temperature=t, **more),
        "nt-xent": lambda part, **more: nt_xent_loss(whole[part], LABELS[part], weight=weight[part], **more),
        "keys": lambda part, **more: nt_xent_loss(whole[part], keys=other[part], temperature=t, **more),
        "queue": lambda part, **more: nt_xent_loss(whole[part], keys=other[part], queue=queue(3, 6), **more),
        "references": lambda part, **more: supcon_loss(
            whole[part], LABELS[part], references=(other[part], LABELS[part]), **more
        ),
        "supcon": lambda part, **more: supcon_loss(whole[part], LABELS[part], weight=weight[part], **more),
        "clip": lambda part, **more: clip_loss(
            normalize(whole[part]), normalize(other[part]), t, weight=weight[part], **more
        ),
        "siglip": lambda part, **more: siglip_loss(
            normalize(whole[part]), normalize(other[part]), t, t, weight=weight[part], **more
        ),
    }
    for name, call in calls.items():
        for reduction in ("mean", "none"):
            expected = call(slice(None), reduction=reduction)
            found = call(own, reduction=reduction, process_group=group)
            if reduction == "none":
                factors = torch.arange(1.0, 12).double()
                expected, found = expected * factors, found * factors[own]
                torch.testing.assert_close(found, expected[own], rtol=1e-12, atol=1e-14)
            else:
                torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)
            known, parts = (
                torch.autograd.grad(losses.sum(), (whole, other, t), materialize_grads=True)
                for losses in (expected, found)
            )
            for part, total in zip(parts, known, strict=True):
                dist.all_reduce(part)  # zero but for own rows; a share of the temperature's
                torch.testing.assert_close(part, total, rtol=1e-9, atol=1e-13, msg=name)


def test_two_processes_equal_one_with_the_whole_batch(tmp_path: Path) -> None:
    run(equals_one_process, 2, tmp_path)


def a_gradient_on_one_process_alone_is_an_error(rank: int) -> None:
    leaf = rows(4).detach().requires_grad_(rank == 0)
    with pytest.raises(ValueError, match=f"rank 1 differs from rank 0; rank {rank} has .*gradient {rank == 0}"):
        supcon_loss(leaf, torch.zeros(4).long(), reduction="none", process_group=dist.group.WORLD)


def test_a_gradient_on_one_process_alone_is_an_error(tmp_path: Path) -> None:
    """Instead of a backward pass that waits for the others."""
    run(a_gradient_on_one_process_alone_is_an_error, 2, tmp_path)
