"""What the benchmark measures beside the losses is what it says it is."""

import pytest
import torch
from bounds import Cost, Gpu, estimate_cost, seconds_by_pipe
from cases import relative_error
from gravis_kernels import configs
from launches import LOSSES as LAUNCHED
from launches import candidates, override_launch, times
from loss import exact_gradient
from measure import measure_extra_bytes
from peers import LOSSES, Peer, list_peers
from processes import FirstProcess
from report import percentiles

SAME = [
    (loss, peer) for loss in LOSSES for peer in list_peers(loss, "cpu") if peer.same and not peer.compiled
]


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


def test_a_bound_is_work_by_the_rate_of_its_pipe() -> None:
    gpu = Gpu(capability=9, multiprocessors=100, hertz=1e9, bytes_per_second=1e12)
    cost = Cost(products=2, exponentials=1, instructions=64, bytes=2)
    assert seconds_by_pipe(cost, 1000, 128, gpu) == pytest.approx(
        {
            "tensor": 1e6 * 512 / 4096 / 1e11,
            "MUFU": 1e6 / 16 / 1e11,
            "issue": 1e6 / 2 / 1e11,
            "memory": 1e6 * 2 / 1e12,
        }
    )
    assert seconds_by_pipe(cost, 1000, 128, gpu, element_size=4)["tensor"] == pytest.approx(6 * 1.25e-6)
    assert all(
        min(estimate_cost(loss, 20).products, estimate_cost(loss, 20).instructions) > 0 for loss in LOSSES
    )


def test_a_process_of_several_does_its_share_with_what_the_others_sent() -> None:
    z = torch.nn.functional.normalize(torch.randn(8, 3, 16, dtype=torch.float64), dim=2)
    whole, half = FirstProcess(z), FirstProcess(z)
    loss, gradient = whole.share(1)
    part, own_gradient = half.share(2)
    assert 0 < part < loss
    assert torch.allclose(own_gradient, gradient[:12])


def test_launches_are_timed_beside_that_of_the_table_which_stays() -> None:
    table = dict(configs.TABLE)
    kept, *others = times("default", torch.randn(2, 3, 16, dtype=torch.bfloat16), rounds=1)
    assert kept["ratio"] == 1
    assert {row["num_stages"] for row in others} == {1, 2, 3, 4}
    assert all(row["ms"] > 0 for row in others)
    assert table == configs.TABLE


def test_a_launch_that_fails_is_reported_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    key = ("interpreter", 2, 128)

    def loss(z: torch.Tensor) -> torch.Tensor:
        if configs.TABLE[key].num_warps == 8:
            raise RuntimeError("out of resource: shared memory")
        return z.sum()

    monkeypatch.setitem(LAUNCHED, "default", loss)
    rows = times("default", torch.randn(2, 3, 16, dtype=torch.bfloat16), rounds=1)
    assert [row["num_warps"] for row in rows if "error" in row] == [8]
    assert all(row["ratio"] > 0 for row in rows if "error" not in row)


def test_candidates_differ_from_the_table_in_one_number() -> None:
    kept = configs.TABLE["sm90", 2, 128]
    first, *others = candidates(kept)
    assert first == kept
    for other in others:
        names = [name for name in kept.__dataclass_fields__ if getattr(kept, name) != getattr(other, name)]
        assert len(names) == 1
        with override_launch(other, ("sm90", 2, 128)):
            assert configs.launch_config("sm90", 128, 2) == other
    assert configs.launch_config("sm90", 128, 2) == kept
