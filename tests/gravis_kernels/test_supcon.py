"""SupCon against its formula, on every backend; extra negatives, labels without positives, several processes."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from cases import relative_error
from gravis_kernels import GravisLoss, MultiViewNTXentLoss, SupConLoss, gravis_loss, nt_xent_loss, supcon_loss
from gravis_kernels.supcon import reference, triton
from gravis_kernels.supcon.compute import supcon_op
from test_distributed import assert_share_of, run
from torch import Tensor
from torch.nn.functional import normalize

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def labeled(rows: int, dim: int = 8, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Labels with 1 to many rows, in no order."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(-3, 4, (rows,), generator=generator)
    labels[0] = 99
    centers = torch.randn(100, dim, generator=generator, dtype=torch.float64)
    noise = torch.randn(rows, dim, generator=generator, dtype=torch.float64)
    return (centers[labels] + 1.5 * noise).to(dtype), labels


def queue(rows: int, dim: int = 8, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(rows, dim, generator=torch.Generator().manual_seed(7), dtype=torch.float64).to(dtype)


def loop(embeddings: Tensor, labels: Tensor, extra: Tensor, temperature: float) -> Tensor:
    """The formula row by row."""
    z, q = normalize(embeddings, dim=1), normalize(extra, dim=1)
    losses = []
    for i in range(len(z)):
        positives = [j for j in range(len(z)) if j != i and labels[j] == labels[i]]
        others = [z[n] @ z[i] / temperature for n in range(len(z)) if n != i]
        total = torch.stack(others + [x @ z[i] / temperature for x in q]).logsumexp(0)
        if positives:
            losses.append(torch.stack([total - z[i] @ z[j] / temperature for j in positives]).mean())
    return torch.stack(losses).mean()


@pytest.mark.parametrize("backend", ["streaming", "reference"])
@pytest.mark.parametrize("temperature", [0.01, 0.1, 1.0])
@pytest.mark.parametrize("extra", [0, 5])
def test_loss_and_gradient_equal_the_formula(backend: Any, temperature: float, extra: int) -> None:
    embeddings, labels = labeled(17)
    leaf = embeddings.requires_grad_()
    expected = loop(leaf, labels, queue(extra), temperature)
    actual = supcon_loss(leaf, labels, extra_negatives=queue(extra), temperature=temperature, backend=backend)
    assert actual.item() == pytest.approx(expected.item(), rel=1e-12)
    gradients = [torch.autograd.grad(loss, leaf)[0] for loss in (actual, expected)]
    assert relative_error(*gradients) < 1e-11


@pytest.mark.parametrize("rows", [383, 385, 800])
def test_streaming_equals_the_reference_over_several_tiles(rows: int) -> None:
    embeddings, labels = labeled(rows)
    leaf = embeddings.requires_grad_()
    losses = [supcon_loss(leaf, labels, extra_negatives=queue(400), backend=b) for b in ("streaming", "reference")]
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-12)
    assert relative_error(*[torch.autograd.grad(loss, leaf)[0] for loss in losses]) < 1e-11


def test_large_similarities_stay_finite_without_normalization() -> None:
    embeddings, labels = labeled(20)
    leaf = (embeddings * 1e3).requires_grad_()
    extra = queue(6) * 1e3
    losses = [
        supcon_loss(leaf, labels, extra_negatives=extra, normalize=False, backend=b) for b in ("streaming", "reference")
    ]
    gradients = [torch.autograd.grad(loss, leaf)[0] for loss in losses]
    assert gradients[0].isfinite().all()
    assert relative_error(*gradients) < 1e-11


@pytest.mark.filterwarnings("ignore:overflow encountered in exp2:RuntimeWarning")
@pytest.mark.parametrize(
    ("dtype", "bound", "first", "count"),
    [
        (torch.float32, 1e-5, 0, 67), (torch.float32, 1e-5, 20, 30),
        (torch.float16, 5e-3, 20, 30), (torch.bfloat16, 3e-2, 0, 67),
    ],
)  # fmt: skip
@pytest.mark.parametrize("temperature", [0.01, 0.1])
def test_triton_equals_the_reference(
    dtype: torch.dtype, bound: float, temperature: float, first: int, count: int
) -> None:
    # in float32, s_in and its log-sum-exp are each off by up to 2^-24, and the gradient follows in units of t
    bound = max(bound, 2 * 2.0**-24 / temperature)
    rows, labels = labeled(67, 16)
    columns = normalize(torch.cat([rows, queue(5, 16)]), dim=1).to(dtype).to(DEVICE)
    labels = labels.to(DEVICE)
    exact = reference.loss_and_gradient(columns.double(), first, count, labels, temperature, True)
    # values of all rows, which other processes would tell
    share = (columns[:67].double() @ columns.double().T / temperature).fill_diagonal_(-torch.inf)
    everyone = (share.logsumexp(1) * temperature).float()
    gather = None if count == 67 else lambda own: everyone[:, None]
    loss, gradient = triton.loss_and_gradient(
        columns, first, count, labels, temperature, True, unit_rows=True, gather=gather
    )
    assert exact[1] is not None
    assert gradient is not None
    assert loss.item() == pytest.approx(exact[0].item(), rel=bound)
    assert relative_error(gradient, exact[1]) < bound
    silent, none = triton.loss_and_gradient(
        columns, first, count, labels, temperature, False, unit_rows=True, gather=gather
    )
    assert none is None
    assert silent == loss


def test_a_batch_without_positives_is_zero() -> None:
    embeddings, _ = labeled(6)
    leaf = embeddings.requires_grad_()
    for backend in ("streaming", "reference"):
        loss = supcon_loss(leaf, torch.arange(6), backend=backend)
        assert loss == 0
        assert torch.autograd.grad(loss, leaf)[0].count_nonzero() == 0


def test_extra_negatives_get_no_gradient() -> None:
    embeddings, labels = labeled(8)
    extra = queue(3).requires_grad_()
    supcon_loss(embeddings.requires_grad_(), labels, extra_negatives=extra).backward()
    assert extra.grad is None


@pytest.mark.parametrize("need_gradient", [True, False])
@pytest.mark.parametrize("extra", [None, 3])
def test_opcheck(need_gradient: bool, extra: int | None) -> None:
    embeddings, labels = labeled(9, dtype=torch.float32)
    given = None if extra is None else queue(extra, dtype=torch.float32)
    arguments = (labels, given, 0.1, "", True, "auto", torch.float32, 0.0, need_gradient)
    results = torch.library.opcheck(supcon_op, (embeddings.requires_grad_(need_gradient), *arguments))
    assert set(results.values()) == {"SUCCESS"}


def test_compiles_as_one_graph() -> None:
    embeddings, labels = labeled(9)
    leaf = embeddings.requires_grad_()
    compiled = torch.compile(SupConLoss(), fullgraph=True, backend="aot_eager")
    losses = [loss(leaf, labels, extra_negatives=queue(3)) for loss in (compiled, SupConLoss())]
    assert losses[0] == losses[1]
    assert torch.equal(*[torch.autograd.grad(loss, leaf)[0] for loss in losses])


def test_second_derivatives_are_refused() -> None:
    embeddings, labels = labeled(5)
    leaf = embeddings.requires_grad_()
    (gradient,) = torch.autograd.grad(supcon_loss(leaf, labels), leaf, create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative"):
        gradient.sum().backward()


def equals_one_process(rank: int, rows: list[int]) -> None:
    embeddings, labels = labeled(sum(rows))
    whole, first = embeddings.requires_grad_(), sum(rows[:rank])
    own = slice(first, first + rows[rank])
    for backend in ("streaming", "reference"):
        given: dict[str, Any] = {"extra_negatives": queue(3), "backend": backend}
        together = partial(supcon_loss, labels=labels[own], process_group=dist.group.WORLD, **given)
        assert_share_of(supcon_loss(whole, labels, **given), whole, own, together)


@pytest.mark.parametrize("rows", [[5, 5], [1, 4, 7]], ids=["two-equal", "three-unequal"])
def test_processes_equal_one_with_the_whole_batch(rows: list[int], tmp_path: Path) -> None:
    run(equals_one_process, len(rows), tmp_path, rows)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"embeddings": torch.randn(4, 2, 8)}, "embeddings must be .rows, dim., got shape .4, 2, 8."),
        ({"embeddings": torch.randn(1, 8), "labels": torch.zeros(1).long()}, "at least 2 rows, got 1"),
        ({"labels": torch.zeros(3).long()}, "shape .4,., one per embedding, got .3,."),
        ({"labels": torch.zeros(4)}, "labels must be integers, got torch.float32"),
        ({"extra_negatives": torch.randn(2, 7)}, "extra_negatives must be .any, 8., got shape .2, 7."),
        ({"temperature": 0.0}, "temperature must be positive and finite, got 0"),
        ({"backend": "cuda"}, "backend must be one of"),
    ],
)
def test_bad_arguments_are_refused(change: dict[str, Any], message: str) -> None:
    good = {"embeddings": torch.randn(4, 8), "labels": torch.zeros(4).long()}
    with pytest.raises(ValueError, match=message):
        supcon_loss(**(good | change))


def test_modules_equal_the_functions() -> None:
    embeddings, labels = labeled(12)
    views = embeddings.unflatten(0, (4, 3))
    assert SupConLoss(0.3)(embeddings, labels) == supcon_loss(embeddings, labels, temperature=0.3)
    assert GravisLoss(penalty="hinge")(views) == gravis_loss(views, penalty="hinge")
    assert MultiViewNTXentLoss(0.3)(views) == nt_xent_loss(views, temperature=0.3)


@pytest.mark.parametrize(("dtype", "times"), [(torch.bfloat16, 1.5), (torch.float16, 1.5)])
@pytest.mark.parametrize(
    ("temperature", "noise", "each"), [(0.1, 0.3, 2), (0.07, 0.3, 2), (0.07, 0.3, 4), (0.1, 0.05, 8)]
)
def test_positives_that_are_found_leave_no_noise_in_half_precision(
    dtype: torch.dtype, times: float, temperature: float, noise: float, each: int
) -> None:
    """Softmax and target cancel there: the error is to be that of the rounded rows, whose gradient is exact."""
    generator = torch.Generator().manual_seed(0)
    centers = torch.randn(32, 1, 128, generator=generator)
    rows = (centers + noise * torch.randn(32, each, 128, generator=generator)).flatten(0, 1)
    labels = torch.arange(32).repeat_interleave(each)
    exact = normalize(rows.double(), dim=1)
    rounded = exact.to(dtype)
    expected, of_rounded = (
        reference.loss_and_gradient(z.double(), 0, len(rows), labels, temperature, True)[1] for z in (exact, rounded)
    )
    _, actual = triton.loss_and_gradient(
        rounded.to(DEVICE), 0, len(rows), labels.to(DEVICE), temperature, True, unit_rows=True
    )
    assert expected is not None
    assert of_rounded is not None
    assert actual is not None
    assert relative_error(actual.cpu(), expected) < times * relative_error(of_rounded, expected) + 0.01


def without_normalization(rows: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Gradients by the kernels in float32 and by the reference in float64; three rows per label."""
    labels = torch.arange(len(rows), device=DEVICE) // 3
    gradients = []
    for backend, dtype in (("triton", torch.float32), ("reference", torch.float64)):
        leaf = rows.to(DEVICE, dtype).requires_grad_()
        loss = supcon_loss(leaf, labels, normalize=False, temperature=temperature, backend=backend)  # type: ignore[arg-type]
        gradients.append(torch.autograd.grad(loss, leaf)[0])
    return gradients[0], gradients[1]


@pytest.mark.parametrize("scale", [1.0, 8.0, 75.0])
def test_large_similarities_are_off_by_no_more_than_their_own_rounding(scale: float) -> None:
    rows = scale * torch.randn(96, 16, generator=torch.Generator().manual_seed(1))
    # s_in and v_n are each off by up to 2^-24 of themselves, and exp((s_in - v_n) / t) follows
    rounding = 2 * 2.0**-24 * float(rows.square().sum(1).max()) / 0.1
    assert relative_error(*without_normalization(rows, 0.1)) < rounding


@pytest.mark.parametrize("temperature", [0.01, 0.1])
@pytest.mark.parametrize("largest", [30, 1000])
def test_similarities_of_any_size_are_exact_where_no_product_rounds(largest: int, temperature: float) -> None:
    """Integers below 2^24, in any order of summation; the temperature is small next to their differences."""
    rows = torch.randint(-largest, largest + 1, (96, 16), generator=torch.Generator().manual_seed(0)).float()
    assert relative_error(*without_normalization(rows, temperature)) < 1e-6


def test_similarities_of_any_size_stay_finite() -> None:
    rows = 1e6 * torch.randn(96, 16, generator=torch.Generator().manual_seed(1))
    assert without_normalization(rows, 0.1)[0].isfinite().all()
