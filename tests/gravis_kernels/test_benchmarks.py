"""What the benchmark measures beside the losses is what it says it is."""

import pytest
import torch
from cases import relative_error
from loss import exact_gradient
from measure import extra_bytes_of
from peers import LOSSES, Peer, peers_of
from report import percentiles

SAME = [(loss, peer) for loss in LOSSES for peer in peers_of(loss, "cpu") if peer.same and not peer.compiled]


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
    size = extra_bytes_of(lambda: torch.ones(2**24), torch.device("cpu"))
    if size is None:
        pytest.skip("this system does not tell the peak of the resident memory")
    assert size == pytest.approx(2**26, rel=0.1)
