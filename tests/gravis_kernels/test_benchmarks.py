"""What the benchmark measures beside the losses is what it says it is."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from bounds import Gpu, Pass, least_seconds, list_passes, seconds_by_pipe
from cases import relative_error
from gravis_kernels import configs
from launches import LOSSES as LAUNCHED
from launches import candidates, override_launch, times
from loss import exact_gradient
from measure import measure_extra_bytes
from peers import LOSSES, Peer, list_peers
from processes import FirstProcess
from report import percentiles

SAME = [(loss, peer) for loss in LOSSES for peer in list_peers(loss, "cpu") if peer.same and not peer.compiled]


@pytest.mark.parametrize(("loss", "peer"), SAME, ids=[f"{loss}-{peer.name}" for loss, peer in SAME])
def test_peers_said_to_compute_the_same_loss_have_its_gradient(loss: str, peer: Peer) -> None:
    views = 2 if "lightly" in peer.name or "open_clip" in peer.name else 3
    embeddings = torch.randn(6, views, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    try:
        function = peer.build(views)
    except ImportError as error:
        pytest.skip(f"{error.name} is not installed")
    function(embeddings).backward()
    assert embeddings.grad is not None
    assert relative_error(embeddings.grad, exact_gradient(loss, embeddings.detach())) < 1e-5


def test_percentiles_of_ten_steps() -> None:
    assert percentiles([float(step) for step in range(11)]) == (2.0, 5.0, 8.0)


def test_memory_of_a_call_is_what_it_allocates() -> None:
    size = measure_extra_bytes(lambda: torch.ones(2**24), torch.device("cpu"))
    if size is None:
        pytest.skip("this system does not tell the peak of the resident memory")
    assert size == pytest.approx(2**26, rel=0.1)


GPU = Gpu(capability=9, multiprocessors=100, hertz=1e9, l2=1e12, memory=2e12)


def test_bound_of_a_pass_is_its_work_by_the_rate_of_each_pipe() -> None:
    """128 dimensions in bfloat16 are 256 bytes. A tile of 64 x 128 similarities reads 64 + 128 vectors, and 128 more
    for the gradient, and receives 128."""
    kernel = Pass(products=2, exponentials=1, instructions=64, memory=2, held=64, right=128)
    assert seconds_by_pipe(kernel, 1000, 128, GPU) == pytest.approx(
        {
            "tensor": 1e6 * 512 / 4096 / 1e11,
            "MUFU": 1e6 / 16 / 1e11,
            "issue": 1e6 / 2 / 1e11,
            "L2": 1e6 * 256 / 64 / 1e12,
            "shared": 1e6 * (64 + 128 + 128 + 128) * 256 / (64 * 128) / 128 / 1e11,
            "memory": 1e6 * 2 / 2e12,
        }
    )
    assert seconds_by_pipe(kernel, 1000, 128, GPU, element_size=4)["tensor"] == pytest.approx(6 * 1.25e-6)


def test_half_the_similarities_need_half_the_traffic() -> None:
    all_pairs = Pass(products=1, exponentials=1, instructions=6, held=128)
    each_once = Pass(products=0.5, exponentials=0.5, instructions=3, held=128, mutual=True)
    both = [seconds_by_pipe(kernel, 1000, 128, GPU) for kernel in (all_pairs, each_once)]
    assert both[1] == pytest.approx({pipe: seconds / 2 for pipe, seconds in both[0].items()})


def test_bound_of_a_loss_is_that_of_its_passes() -> None:
    for loss in LOSSES:
        passes = list_passes(loss, 20)
        assert least_seconds(passes, 1000, 128, GPU) == pytest.approx(
            sum(max(seconds_by_pipe(kernel, 1000, 128, GPU).values()) for kernel in passes)
        )


def test_a_process_of_several_does_its_share_with_what_the_others_sent() -> None:
    z = torch.nn.functional.normalize(torch.randn(8, 3, 16, dtype=torch.float64), dim=2)
    whole, half = FirstProcess(z), FirstProcess(z)
    loss, gradient = whole.share(1)
    part, own_gradient = half.share(2)
    assert 0 < part < loss
    assert torch.allclose(own_gradient, gradient[:12])


def test_launches_are_timed_beside_that_of_the_table_and_one_that_fails_is_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    key: Any = ("sums", "interpreter", 2, 128)
    table = dict(configs.TABLE)

    def loss(z: torch.Tensor) -> torch.Tensor:
        if configs.TABLE[key].num_warps == 8:
            raise RuntimeError("out of resource: shared memory")
        return z.sum()

    def milliseconds(step: Callable[[], object], name: str) -> float:
        step()
        return configs.TABLE[key].block_rows / 64

    monkeypatch.setitem(LAUNCHED, "sums", loss)
    kept, *others = times(key, torch.randn(2, 3, 16), 1, milliseconds)
    assert (kept["ms"], kept["ratio"]) == (1, 1)
    assert all("shared memory" in row["error"] for row in others if row["num_warps"] == 8)
    assert all(row["ratio"] == row["block_rows"] / 64 for row in others if row["num_warps"] == 4)
    assert len(others) > 10
    assert table == configs.TABLE


def test_candidates_start_with_the_table() -> None:
    key: Any = ("gradient", "sm90", 2, 128)
    kept = configs.TABLE[key]
    first, *others = candidates(kept)
    assert first == kept
    assert len(set(others)) == len(others) == 15
    with override_launch(others[0], key):
        assert configs.launch_config("gradient", "sm90", 128, 2) == others[0]
    assert configs.launch_config("gradient", "sm90", 128, 2) == kept
