"""Individual steps of the view maker."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from gravis_triton.augment import ViewMaker
from gravis_triton.benchmark.clock import Clock
from gravis_triton.data.loading.loader import ImageBatch

VIEW_STEP = "view: "  # prefix of the step names


def measure_view_steps(clock: Clock, maker: ViewMaker, batch: ImageBatch) -> None:
    """Take one sample of each step of the view maker; the remaining time is conversion and normalization."""
    spent: dict[str, float] = defaultdict(float)
    start = clock.wait()
    with _watched(maker, clock, spent):
        maker(*batch)
    spent["to float, normalize"] = clock.wait() - start - sum(spent.values())
    images = len(batch.images)
    for name, seconds in spent.items():
        clock.add(f"{VIEW_STEP}{name}", seconds, images=images, views=images * maker.views_per_image)


@contextmanager
def _watched(maker: ViewMaker, clock: Clock, spent: dict[str, float]) -> Iterator[None]:
    """Inside, the time of each step of the maker is accumulated by its name."""

    def watch(name: str, work: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def watched(*args: Any, **kwargs: Any) -> Tensor:
            start = clock.wait()
            result = work(*args, **kwargs)
            spent[name] += clock.wait() - start
            return result

        return watched

    steps: list[tuple[nn.Module, str]] = [(step, "apply_") for step in (*maker.photometry, maker.cutout)]
    steps.append((maker.crop, "views_of"))
    for step, method in steps:
        setattr(step, method, watch(_name(step), getattr(step, method)))
    try:
        yield
    finally:
        for step, method in steps:
            delattr(step, method)


def _name(step: nn.Module) -> str:
    """RandomGelBubbles as "gel bubbles"."""
    words = re.findall("[A-Z][a-z]+", type(step).__name__)
    return " ".join(words).lower().removeprefix("random ")
