"""Extra negatives of the GraVIS family (a queue): against the formulas anchor by anchor, on every backend."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from cases import (
    SETTINGS,
    loop_over_anchors,
    make_embeddings,
    relative_error,
    surrounded_by_nan,
    without_rounding,
)
from gravis_kernels import GravisLoss, GravisSettings, MultiViewNTXentLoss, gravis_loss, nt_xent_loss
from gravis_kernels.gravis import reference, triton
from gravis_kernels.gravis.autograd import loss_op
from test_distributed import assert_share_of, own_part, run
from torch import Tensor
from torch.nn.functional import normalize

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
FAMILIES = ["softmax-hinge", "uniform-sigmoid", "softmax-lse-softplus", "rank"]


def queue(rows: int, dim: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Longer and shorter than 1, as what is not normalized may be."""
    generator = torch.Generator().manual_seed(7)
    return 2 * torch.randn(rows, dim, generator=generator, dtype=torch.float64).to(dtype)


def loop(embeddings: Tensor, extra: Tensor, settings: GravisSettings) -> Tensor:
    """The formulas of `gravis_loss` for one anchor after the other."""
    sources, views, _ = embeddings.shape
    labels = torch.arange(sources).repeat_interleave(views)
    return loop_over_anchors(embeddings.flatten(0, 1), labels, extra, settings)[0].mean()


@pytest.mark.parametrize("backend", ["streaming", "reference"])
@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("extra", [0, 1, 5])
def test_loss_and_gradient_equal_the_formula(backend: Any, name: str, extra: int) -> None:
    leaf = make_embeddings(4, 3, 8, dtype=torch.float64).requires_grad_()
    expected = loop(leaf, queue(extra, 8), GravisSettings(**SETTINGS[name]))
    actual = gravis_loss(leaf, extra_negatives=queue(extra, 8), backend=backend, **SETTINGS[name])
    assert actual.item() == pytest.approx(expected.item(), rel=1e-12)
    gradients = [torch.autograd.grad(loss, leaf)[0] for loss in (actual, expected)]
    assert relative_error(*gradients) < 1e-11


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("normalized", [True, False])
def test_streaming_equals_the_reference_over_several_tiles(name: str, normalized: bool) -> None:
    leaf = make_embeddings(131, 3, 8, dtype=torch.float64).requires_grad_()
    given: dict[str, Any] = {"extra_negatives": queue(400, 8), "normalize": normalized, **SETTINGS[name]}
    losses = [gravis_loss(leaf, backend=b, **given) for b in ("streaming", "reference")]
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-12)
    assert relative_error(*[torch.autograd.grad(loss, leaf)[0] for loss in losses]) < 1e-11


@pytest.mark.filterwarnings("ignore:overflow encountered in exp2:RuntimeWarning")
@pytest.mark.usefixtures("buffers_full_of_nan")
@pytest.mark.parametrize(
    ("dtype", "bound", "first", "count"), [(torch.float32, 1e-5, 0, 65), (torch.float16, 5e-3, 20, 30)]
)
@pytest.mark.parametrize("name", SETTINGS)
def test_triton_equals_the_reference(dtype: torch.dtype, bound: float, name: str, first: int, count: int) -> None:
    settings, rows = GravisSettings(**SETTINGS[name]), make_embeddings(13, 5, 48, dtype=torch.float64)
    columns = normalize(torch.cat([rows.flatten(0, 1), queue(70, 48)]), dim=1)
    if settings.penalty == "hinge":
        columns = without_rounding(columns)
    columns = surrounded_by_nan(columns.to(DEVICE, dtype))
    exact = reference.loss_and_gradient(columns.double(), first, count, 5, settings, True, extra=70)
    loss, gradient = triton.loss_and_gradient(columns, first, count, 5, settings, True, extra=70, unit_rows=True)
    assert exact[1] is not None
    assert gradient is not None
    assert loss.item() == pytest.approx(exact[0].item(), rel=bound)
    assert relative_error(gradient, exact[1]) < bound
    silent, none = triton.loss_and_gradient(columns, first, count, 5, settings, False, extra=70, unit_rows=True)
    assert none is None
    assert silent.item() == pytest.approx(loss.item(), rel=1e-6)


def test_a_batch_of_one_more_source_is_the_same_for_the_anchors_of_the_others() -> None:
    """Views that are negatives only, in place of a source that is an anchor as well."""
    z = make_embeddings(5, 3, 8, dtype=torch.float64)
    rows = normalize(z, dim=2).flatten(0, 1)
    for settings in (GravisSettings(**given) for given in SETTINGS.values()):
        whole = reference.anchor_losses(rows, 3, settings)
        part = reference.anchor_losses(rows[:12], 3, settings, rows[12:])
        torch.testing.assert_close(part, whole[:12], rtol=1e-12, atol=0)


def test_they_get_no_gradient_and_no_second_derivative_appears() -> None:
    leaf, extra = make_embeddings(4, 3, 8).requires_grad_(), queue(3, 8, torch.float32).requires_grad_()
    (gradient,) = torch.autograd.grad(gravis_loss(leaf, extra_negatives=extra), leaf, create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative"):
        gradient.sum().backward()
    assert extra.grad is None


@pytest.mark.parametrize("need_gradient", [True, False])
@pytest.mark.parametrize("name", FAMILIES)
def test_opcheck(need_gradient: bool, name: str) -> None:
    given = GravisSettings(**SETTINGS[name])
    arguments = (
        queue(3, 8, torch.float32), given.margin, given.attention, given.attention_temperature, given.negatives,
        given.penalty, given.temperature, given.detach_attention, "", True, "auto", torch.float32, 0.0, need_gradient,
    )  # fmt: skip
    embeddings = make_embeddings(4, 3, 8).requires_grad_(need_gradient)
    results = torch.library.opcheck(loss_op, (embeddings, *arguments))
    assert set(results.values()) == {"SUCCESS"}


def test_modules_compile_as_one_graph_and_equal_the_functions() -> None:
    leaf, extra = make_embeddings(4, 3, 8).requires_grad_(), queue(3, 8, torch.float32)
    expected = [
        gravis_loss(leaf, extra_negatives=extra, penalty="hinge"),
        nt_xent_loss(leaf, temperature=0.3, extra_negatives=extra),
    ]
    modules = [GravisLoss(penalty="hinge"), MultiViewNTXentLoss(0.3)]
    for module, loss in zip(modules, expected, strict=True):
        compiled = torch.compile(module, fullgraph=True, backend="aot_eager")(leaf, extra_negatives=extra)
        assert compiled == module(leaf, extra_negatives=extra) == loss
        gradients = [torch.autograd.grad(each, leaf)[0] for each in (compiled, loss)]
        assert torch.equal(*gradients)


def equals_one_process(rank: int, sources: list[int]) -> None:
    whole = make_embeddings(sum(sources), 3, 6, dtype=torch.float64).requires_grad_()
    own = own_part(whole, sources, rank)
    for name in FAMILIES:
        for backend in ("streaming", "reference"):
            given: dict[str, Any] = {"extra_negatives": queue(5, 6), "backend": backend, **SETTINGS[name]}
            together = partial(gravis_loss, process_group=dist.group.WORLD, **given)
            assert_share_of(gravis_loss(whole, **given), whole, own, together)


@pytest.mark.parametrize("sources", [[3, 3], [1, 4, 2]], ids=["two-equal", "three-unequal"])
def test_processes_equal_one_with_the_whole_batch(sources: list[int], tmp_path: Path) -> None:
    run(equals_one_process, len(sources), tmp_path, sources)


@pytest.mark.parametrize("shape", [(2, 7), (8,), (2, 3, 8)])
def test_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"extra_negatives must be .any, 8., got shape"):
        gravis_loss(torch.randn(4, 3, 8), extra_negatives=torch.randn(shape))


@pytest.mark.parametrize("backend", ["streaming", "reference", "triton"])
def test_a_nan_among_them_shows_where_nothing_is_violated(backend: str) -> None:
    extra = queue(4, 8, torch.float32)
    extra[1] = torch.nan
    embeddings, extra = make_embeddings(5, 3, 8).to(DEVICE), extra.to(DEVICE)
    loss = gravis_loss(embeddings, penalty="hinge", margin=-3.0, extra_negatives=extra, backend=backend)
    assert loss.isnan()


def test_they_must_be_floating_point() -> None:
    with pytest.raises(ValueError, match=r"extra_negatives must be floating point, got torch.int64"):
        gravis_loss(make_embeddings(5, 3, 8), extra_negatives=torch.ones(2, 8, dtype=torch.int64))
