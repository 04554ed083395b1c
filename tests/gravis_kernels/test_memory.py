"""Memory of the streaming backend: every tensor that lives at once, counted by the profiler."""

from itertools import accumulate

import pytest
from cases import SETTINGS, evaluate, make_embeddings
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
def test_memory_grows_no_faster_than_the_batch(settings: dict) -> None:
    half, whole = (peak_bytes(sources, 4, 16, settings) for sources in (256, 512))
    assert whole < 2.1 * half
    assert whole < 0.8 * 2048**2 * 4, "less than one matrix of similarities"
