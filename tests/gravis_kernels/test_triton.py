"""The Triton kernels against the dense reference in float64: in Triton's interpreter, or natively on a GPU."""

from typing import Any

import pytest
import torch
from cases import (
    HINGE,
    SETTINGS,
    SHAPES,
    TEMPERATURES,
    Result,
    make_embeddings,
    relative_error,
    surrounded_by_nan,
    without_rounding,
)
from gravis_kernels import configs
from gravis_kernels.gravis import reference, triton, triton_mean, triton_work
from gravis_kernels.settings import GravisSettings
from torch import Tensor
from torch.nn.functional import normalize

ON_GPU = torch.cuda.is_available()
DEVICE = "cuda" if ON_GPU else "cpu"
TOLERANCE = 1e-5  # relative root mean square error of a float32 gradient
FAMILIES = ["softmax-hinge", "softmax-softplus", "nt-xent", "rank"]

pytestmark = [
    pytest.mark.filterwarnings("ignore:overflow encountered in exp2:RuntimeWarning"),
    pytest.mark.usefixtures("buffers_full_of_nan"),
]


def unit_rows(sources: int, views: int, dim: int, dtype: torch.dtype = torch.float32, **scatter: Any) -> Tensor:
    rows = make_embeddings(sources, views, dim, dtype=torch.float64, **scatter).flatten(0, 1)
    return normalize(rows, dim=1).to(dtype).to(DEVICE)


def fused(rows: Tensor, views: int, settings: GravisSettings, first: int = 0, count: int | None = None) -> Result:
    unit_rows = bool(rows.norm(dim=1).max() < 1.01)
    loss, gradient = triton.loss_and_gradient(
        rows, first, count or len(rows), views, settings, True, unit_rows=unit_rows
    )
    assert gradient is not None
    return Result(loss.double().cpu(), gradient.double().cpu())


def dense(rows: Tensor, views: int, settings: GravisSettings, dtype: torch.dtype = torch.float64) -> Result:
    loss, gradient = reference.loss_and_gradient(rows.cpu().to(dtype), 0, len(rows), views, settings, True)
    assert gradient is not None
    return Result(loss.double(), gradient.double())


def assert_agrees(rows: Tensor, views: int, settings: GravisSettings, tolerance: float = TOLERANCE) -> None:
    if settings.penalty == "hinge":
        rows = without_rounding(rows)
    actual, expected = fused(rows, views, settings), dense(rows, views, settings)
    assert float(actual.loss) == pytest.approx(float(expected.loss), rel=tolerance)
    assert relative_error(actual.gradient, expected.gradient) < tolerance


@pytest.mark.parametrize("name", SETTINGS)
def test_loss_and_gradient_are_those_of_the_formula(name: str) -> None:
    assert_agrees(unit_rows(13, 5, 48), 5, GravisSettings(**SETTINGS[name]))


@pytest.mark.parametrize("shape", SHAPES)
def test_sizes_need_not_fit_tiles(shape: tuple[int, int, int]) -> None:
    assert_agrees(unit_rows(*shape), shape[1], GravisSettings(**HINGE))


@pytest.mark.parametrize("shape", [(2, 2, 16), (13, 5, 128), (2, 33, 16)])
@pytest.mark.parametrize("name", FAMILIES[1:])
def test_sizes_need_not_fit_tiles_for_any_family(shape: tuple[int, int, int], name: str) -> None:
    assert_agrees(unit_rows(*shape), shape[1], GravisSettings(**SETTINGS[name]))


@pytest.mark.parametrize(("sources", "views", "dim"), [(2, 64, 16), (3, 2, 1024), (5, 3, 600)])
def test_most_views_and_dimensions(sources: int, views: int, dim: int) -> None:
    assert_agrees(unit_rows(sources, views, dim), views, GravisSettings(**HINGE))


@pytest.mark.parametrize("views", [2, 3, 20, 64])
def test_any_number_of_views(views: int) -> None:
    assert_agrees(unit_rows(3, views, 128), views, GravisSettings())


@pytest.mark.parametrize(("sources", "groups", "dim"), [(15, 2, 128), (33, 2, 16), (33, 64, 128)])
def test_each_pair_of_groups_of_tiles_counts_once(
    sources: int, groups: int, dim: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """45 and 99 rows: groups of one and two tiles of 32, the last ones partly filled; sources cross their boundaries.

    Tiles of 128 dimensions are loaded by descriptor, with rows of zeros beyond the end; others are not.
    """
    monkeypatch.setattr(triton, "LARGEST_GROUPS", groups)
    monkeypatch.setitem(configs.TABLE, ("sums", "interpreter", 4, 128), configs.LaunchConfig(16, 32, 128, 128, 4, 1))
    assert_agrees(unit_rows(sources, 3, dim), 3, GravisSettings(**SETTINGS["nt-xent"]))


@pytest.mark.parametrize("dim", [24, 128])
def test_own_rows_with_the_sums_of_others_are_those_of_the_whole(dim: int) -> None:
    rows, settings = unit_rows(13, 5, dim), GravisSettings(temperature=0.3)
    own = [(0, 10), (10, 5), (15, 50)]
    sent: list[Tensor] = []

    def part(first: int, count: int, gather: Any) -> tuple[Tensor, Tensor | None]:
        return triton.loss_and_gradient(rows, first, count, 5, settings, True, unit_rows=True, gather=gather)

    def send(values: Tensor) -> Tensor:
        sent.append(values)
        return values.new_zeros(len(rows), values.shape[1])

    for first, count in own:
        part(first, count, send)
    losses, gradients = zip(*(part(*slice_, lambda _: torch.cat(sent)) for slice_ in own), strict=True)
    expected = dense(rows, 5, settings)
    assert float(sum(losses)) == pytest.approx(float(expected.loss), rel=TOLERANCE)
    assert relative_error(torch.cat(gradients).cpu(), expected.gradient) < TOLERANCE


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("name", FAMILIES)
def test_temperatures(name: str, temperature: float) -> None:
    settings = SETTINGS[name] | {"temperature": temperature}
    if name == "softmax-hinge":
        settings = HINGE | {"attention_temperature": temperature}
    assert_agrees(unit_rows(7, 5, 16), 5, GravisSettings(**settings))


@pytest.mark.parametrize("temperature", [0.02, 0.01])
def test_small_temperatures_with_and_without_a_running_maximum(temperature: float) -> None:
    assert_agrees(unit_rows(7, 5, 16), 5, GravisSettings(temperature=temperature), tolerance=2e-5)


def test_a_tiny_loss_keeps_its_digits() -> None:
    """Where positives agree and negatives are opposite, softplus is far below float32's resolution at 1."""
    rows = torch.tensor([[1.0, 0.0], [1.0, 1e-3], [-1.0, 0.0], [-1.0, 1e-3]])
    rows = normalize(rows.repeat(1, 8), dim=1).to(DEVICE)
    assert_agrees(rows, 2, GravisSettings(temperature=0.1), tolerance=2e-5)


@pytest.mark.parametrize("margin", [1.0, 3.0])
def test_tiles_that_violate_most_or_all_margins(margin: float) -> None:
    assert_agrees(unit_rows(13, 5, 16), 5, GravisSettings(**HINGE | {"margin": margin}))


def test_hinge_is_exact_where_every_number_is_an_integer() -> None:
    rows = torch.randint(-1, 2, (135, 24), generator=torch.Generator().manual_seed(0)).float().to(DEVICE)
    # two positives weigh 1/2 each
    settings = GravisSettings(**HINGE | {"attention": "uniform", "margin": 3.0})
    actual, expected = fused(rows, 3, settings), dense(rows, 3, settings)
    assert torch.equal((actual.gradient * 135 * 132 * 2).round(), (expected.gradient * 135 * 132 * 2).round())
    assert relative_error(actual.gradient, expected.gradient) < 1e-7


@pytest.mark.parametrize("name", FAMILIES)
def test_each_process_gets_its_rows_of_the_whole(name: str) -> None:
    rows, settings = without_rounding(unit_rows(13, 5, 16)), GravisSettings(**SETTINGS[name])
    parts = [fused(rows, 5, settings, first, count) for first, count in ((0, 10), (10, 5), (15, 50))]
    expected = dense(rows, 5, settings)
    assert float(sum(p.loss for p in parts)) == pytest.approx(float(expected.loss), rel=TOLERANCE)
    assert relative_error(torch.cat([p.gradient for p in parts]), expected.gradient) < TOLERANCE


@pytest.mark.parametrize("name", FAMILIES)
def test_a_second_run_gives_the_same_bits_whatever_surrounds_the_embeddings(name: str) -> None:
    rows, settings = unit_rows(13, 5, 128), GravisSettings(**SETTINGS[name])
    plain, surrounded = fused(rows, 5, settings), fused(surrounded_by_nan(rows), 5, settings)
    assert torch.equal(plain.loss, surrounded.loss)
    assert torch.equal(plain.gradient, surrounded.gradient)


@pytest.mark.parametrize("name", FAMILIES)
def test_loss_alone_is_the_loss_with_gradient(name: str) -> None:
    rows, settings = unit_rows(13, 5, 16), GravisSettings(**SETTINGS[name])
    loss, gradient = triton.loss_and_gradient(rows, 10, 25, 5, settings, False)
    assert gradient is None
    assert float(loss) == pytest.approx(float(fused(rows, 5, settings, 10, 25).loss), rel=1e-6)


def test_gradient_is_zero_when_every_margin_is_satisfied() -> None:
    result = fused(unit_rows(9, 4, 16), 4, GravisSettings(**HINGE | {"margin": -2.5}))
    assert float(result.loss) == 0
    assert not result.gradient.any()


@pytest.mark.skipif(ON_GPU, reason="counts the interpreter's calls")
def test_tiles_without_violations_are_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """256 rows are 4 x 2 tiles: sources of the first row tile are close to each other, all others far apart."""
    close = torch.eye(64)[0] + 0.05 * torch.randn(64, 64, generator=torch.Generator().manual_seed(0))
    rows = torch.cat([without_rounding(normalize(close, dim=1)), torch.eye(64)[16:28].repeat_interleave(16, 0)])
    calls = []
    visit = triton_mean.visit_columns

    def counted(*arguments: Any) -> Any:
        calls.append(arguments)
        return visit(*arguments)

    monkeypatch.setattr(triton_mean, "visit_columns", counted)
    settings = GravisSettings(**HINGE)
    result = fused(rows, 16, settings)
    assert len(calls) == 1
    assert result.gradient[:64].any()
    assert not result.gradient[64:].any()
    assert relative_error(result.gradient, dense(rows, 16, settings).gradient) < TOLERANCE


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", FAMILIES[:3])
def test_similarities_of_many_temperatures_are_off_by_no_more_than_their_own_rounding(name: str, seed: int) -> None:
    rows, settings = 30 * unit_rows(9, 5, 16, seed=seed), GravisSettings(**SETTINGS[name])
    # a similarity in float32 is off by up to 2^-24 of itself, and the gradient follows in units of the temperature
    rounding = 2.0**-24 * float((rows @ rows.T).max()) / settings.temperature
    assert_agrees(rows, 5, settings, tolerance=rounding)


@pytest.mark.parametrize("name", SETTINGS)
def test_similarities_of_any_size_do_not_overflow(name: str) -> None:
    result = fused(1e6 * unit_rows(9, 5, 16), 5, GravisSettings(**SETTINGS[name]))
    assert result.loss.isfinite()
    assert result.gradient.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", FAMILIES)
def test_half_precision_is_as_good_as_dense_torch_in_it(name: str, dtype: torch.dtype) -> None:
    rows, settings = unit_rows(9, 5, 48, dtype), GravisSettings(**SETTINGS[name])
    expected = dense(rows, 5, settings)
    error = relative_error(fused(rows, 5, settings).gradient, expected.gradient)
    assert error < 2 * relative_error(dense(rows, 5, settings, dtype).gradient, expected.gradient)


@pytest.mark.parametrize(
    ("rows", "views", "message"),
    [
        (torch.zeros(130, 8), 65, "up to 64 views, got 65"),
        (torch.zeros(4, 1025), 2, "up to 1024 dimensions, got 1025"),
        (torch.zeros(4, 8, dtype=torch.float64), 2, r"float16 embeddings, got torch\.float64"),
    ],
)
def test_what_the_kernels_cannot_do_is_an_error(rows: Tensor, views: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        triton.loss_and_gradient(rows, 0, len(rows), views, GravisSettings(), True)


def test_every_launch_covers_its_tiles_once() -> None:
    for kernel, architecture, element_size, dim in configs.TABLE:
        dtype = torch.float32 if element_size == 4 else torch.bfloat16
        rows, machine = torch.zeros(1000, dim, dtype=dtype), configs.Machine(architecture, 132)
        work = triton_work.Work(rows, 0, 1000, 5, GravisSettings(), machine, {})
        grid = triton_work.own_rows(work, kernel, True)
        assert (grid.splits - 1) * grid.tiles_per_split < grid.column_tiles <= grid.splits * grid.tiles_per_split
        assert grid.chunks * grid.launch.block_dim >= dim


@pytest.mark.gpu
@pytest.mark.parametrize("name", FAMILIES)
def test_nothing_waits_for_the_gpu_or_recompiles_as_sources_change(name: str) -> None:
    settings = GravisSettings(**SETTINGS[name])
    fused(unit_rows(40, 5, 128), 5, settings)
    compiled = sum(len(cache[0]) for cache in triton_mean.sweep.device_caches.values())
    batches = [unit_rows(sources, 5, 128) for sources in (2, 16, 41, 333)]
    torch.cuda.set_sync_debug_mode("error")
    try:
        for rows in batches:
            triton.loss_and_gradient(rows, 0, len(rows), 5, settings, True)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert sum(len(cache[0]) for cache in triton_mean.sweep.device_caches.values()) == compiled


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("name", FAMILIES)
def test_many_tiles_on_a_gpu(name: str, dtype: torch.dtype) -> None:
    assert_agrees(
        unit_rows(101, 20, 128, dtype),
        20,
        GravisSettings(**SETTINGS[name]),
        tolerance=TOLERANCE if dtype == torch.float32 else 5e-3,
    )


@pytest.mark.parametrize("name", ["softmax-hinge", "uniform-hinge", "softmax-lse-hinge", "rank"])
def test_infinite_similarities_write_nothing_beyond_the_buffers(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    guards: list[tuple[Tensor, int]] = []

    def guarded(work: triton_work.Work, *shape: int) -> Tensor:
        size = int(torch.Size(shape).numel())
        buffer = torch.zeros(size + 200_000, device=work.columns.device)
        guards.append((buffer, size))
        return buffer[:size].view(shape)

    monkeypatch.setattr(triton_work.Work, "zeros", guarded)
    rows = unit_rows(5, 3, 16)
    rows[7, 5] = torch.inf
    loss, _ = triton.loss_and_gradient(rows, 0, 15, 3, GravisSettings(**SETTINGS[name]), True)
    assert not loss.isfinite()
    assert all(not buffer[size:].any() for buffer, size in guards)
