"""Losses to measure: those of this package and their peers, as functions of embeddings (sources, views, dim)."""

from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from gravis_kernels import GravisSettings, gravis_loss, nt_xent_loss, supcon_loss
from peer_losses import (
    HINGE,
    QUEUE,
    ROW_BLOCK_BYTES,
    TEMPERATURE,
    Loss,
    dense_clip,
    dense_loss,
    dense_nt_xent,
    dense_queue,
    dense_siglip,
    dense_supcon,
    inf_cl,
    labelled,
    lightly_nt_xent,
    metric_nt_xent,
    metric_queue,
    metric_supcon,
    metric_triplet,
    queue_loss,
    released_loss,
    row_block_hinge,
    towers_loss,
)

FAMILY: dict[str, GravisSettings] = {
    "hinge": HINGE,
    "softplus": GravisSettings(negatives="mean", penalty="softplus"),
    "logsumexp": GravisSettings(),  # the default of `gravis_loss`
    "rank": GravisSettings(attention="rank", negatives="mean", penalty="sigmoid"),
}
LOSSES = (*FAMILY, "nt-xent", "supcon", "queue", "clip", "siglip")


@dataclass(frozen=True)
class Peer:
    """An implementation to measure.

    build: makes the loss for a number of views; ImportError if its library is missing.
    memory: expected bytes of forward and backward in float32, from (batch, views), to skip what cannot fit.
    growth: exponent of its time as a function of the batch size.
    same: whether it computes exactly the same loss, so that gradients can be compared.
    """

    name: str
    build: Callable[[int], Loss]
    memory: Callable[[int, int], float]
    growth: int = 2
    same: bool = True
    compiled: bool = False


def subject(loss: str, backend: str) -> Peer:
    """This package's loss."""

    def build(views: int) -> Loss:
        if loss == "nt-xent":
            return lambda x: nt_xent_loss(x, backend=backend)  # type: ignore[arg-type]
        if loss == "supcon":
            return lambda x: supcon_loss(*labelled(x), temperature=TEMPERATURE, backend=backend)  # type: ignore[arg-type]
        if loss == "queue":
            return lambda x: queue_loss(x, backend)
        if loss in ("clip", "siglip"):
            return lambda x: towers_loss(loss, x, backend)
        return lambda x: gravis_loss(x, backend=backend, **asdict(FAMILY[loss]))

    return Peer(f"gravis_kernels ({backend})", build, lambda batch, views: 64 * 2**20 + 4e3 * batch)


def list_peers(loss: str, device: str) -> list[Peer]:
    """All peers of a loss, its dense formula first."""
    if loss == "nt-xent":
        return _nt_xent_peers(device)
    if loss == "supcon":
        return [
            Peer("dense", lambda views: dense_supcon, _matrices(8)),
            Peer("pytorch-metric-learning SupConLoss", metric_supcon, _matrices(12)),
        ]
    if loss == "queue":
        by_queue = lambda batch, _: 4.0 * 12 * batch * (batch + QUEUE)  # noqa: E731
        return [
            Peer("dense", lambda views: dense_queue, by_queue, 1),
            Peer("pytorch-metric-learning CrossBatchMemory", metric_queue, by_queue, 1, same=False),
        ]
    if loss in ("clip", "siglip"):
        # matrices of logits between pairs; there are half as many pairs as rows
        return [Peer("dense, as open_clip", {"clip": dense_clip, "siglip": dense_siglip}[loss], _matrices(2))]
    dense = dense_loss(FAMILY[loss])
    in_eager, compiled = (_matrices(12), _matrices(12)) if loss == "logsumexp" else (_cuboids(6), _cuboids(3))
    peers = [
        Peer("dense", lambda views: dense, in_eager),
        Peer("dense, torch.compile", lambda views: torch.compile(dense), compiled, compiled=True),
    ]
    if loss == "hinge":
        peers += [
            Peer("dense in row blocks", lambda views: row_block_hinge, lambda b, k: 8.0 * ROW_BLOCK_BYTES),
            Peer("pytorch-metric-learning TripletMarginLoss", metric_triplet, _cuboids(15), same=False),
        ]
    cubes = lambda batch, views: 13.0 * batch**3  # noqa: E731
    return [*peers, Peer("released algorithm, O(B^3)", lambda views: released_loss, cubes, 3, loss == "rank")]


def _nt_xent_peers(device: str) -> list[Peer]:
    compiled = Peer("dense, torch.compile", lambda views: torch.compile(dense_nt_xent), _matrices(12), compiled=True)
    peers = [
        Peer("dense", lambda views: dense_nt_xent, _matrices(12)),
        compiled,
        Peer("pytorch-metric-learning NTXentLoss", metric_nt_xent, lambda b, k: 16.0 * k * b**3, 3),
        Peer("pytorch-metric-learning SupConLoss", metric_supcon, _matrices(12), same=False),
        Peer("lightly NTXentLoss (2 views)", lightly_nt_xent, _matrices(12)),
    ]
    if device == "cuda":
        peers.append(Peer("Inf-CL, one direction (2 views)", inf_cl, lambda b, k: 4e3 * b, same=False))
    return peers


def _matrices(count: int) -> Callable[[int, int], float]:
    return lambda batch, views: 4.0 * count * batch**2


def _cuboids(count: int) -> Callable[[int, int], float]:
    return lambda batch, views: 4.0 * count * batch**2 * views
