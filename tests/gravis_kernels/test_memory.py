"""Memory of the streaming backend: every tensor that lives at once, counted by the profiler."""

import threading
from itertools import accumulate

import pytest
import torch
from cases import SETTINGS, evaluate, make_embeddings
from gravis_kernels.gravis import logsumexp, pairs
from torch.profiler import ProfilerActivity, profile

MIB = 2**20


def peak_bytes(sources: int, views: int, dim: int, settings: dict) -> int:
    """The most that was allocated at once by a forward and backward pass."""
    embeddings = make_embeddings(sources, views, dim)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        evaluate(embeddings, backend="streaming", **settings)
    changes = [event.nbytes() for event in recorded.profiler.kineto_results.events() if event.name() == "[memory]"]
    assert changes
    return max(accumulate(changes))


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
def test_640_views_take_less_than_64_mib(settings: dict) -> None:
    assert peak_bytes(32, 20, 128, settings) < 64 * MIB


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
def test_memory_grows_no_faster_than_the_batch_beside_kept_exponentials(
    settings: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logsumexp, "KEPT", 0)
    half, whole = (peak_bytes(sources, 4, 16, settings) for sources in (256, 512))
    assert whole < 2.1 * half
    assert whole < 0.8 * 2048**2 * 4, "less than one matrix of similarities"


def test_exponentials_are_kept_within_their_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logsumexp, "_memory", threading.local())
    needed = 1024 * (1024 + pairs.TILE) // 2 * 4
    for budget, kept in ((needed - 1, 0), (needed, needed)):
        monkeypatch.setattr(logsumexp, "KEPT", budget)
        evaluate(make_embeddings(256, 4, 16), backend="streaming")
        assert getattr(logsumexp._memory, "room", torch.empty(0)).nbytes == kept
