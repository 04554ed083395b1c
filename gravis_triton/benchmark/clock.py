"""Samples of durations, synchronized with asynchronous devices."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import quantiles

import torch


@dataclass(slots=True)
class Stage:
    """Durations in seconds of the same work, repeated: on `images` images and `views` views."""

    name: str
    images: int = 0
    views: int = 0
    seconds: list[float] = field(default_factory=list)

    def percentiles(self) -> tuple[float, float, float]:
        """p20, p50 and p80 of the durations."""
        return percentiles(self.seconds)

    def per_second(self, count: int) -> float | None:
        """Median throughput for `count` items per sample; None if `count` is 0."""
        return count / self.percentiles()[1] if count else None


class Clock:
    """Measures named stages on a device.

    now: time.perf_counter for wall time; time.thread_time for the processor time of single-threaded work, which is
    less affected by other programs on the machine.
    """

    def __init__(self, device: torch.device, now: Callable[[], float] = time.perf_counter) -> None:
        self.device, self.now = device, now
        self.stages: dict[str, Stage] = {}

    def wait(self) -> float:
        """Wait for the device to finish its work; returns the time."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return self.now()

    def add(self, name: str, seconds: float, *, images: int = 0, views: int = 0) -> None:
        self.stages.setdefault(name, Stage(name, images, views)).seconds.append(seconds)

    @contextmanager
    def measure(self, name: str, *, images: int = 0, views: int = 0) -> Iterator[None]:
        start = self.wait()
        yield
        self.add(name, self.wait() - start, images=images, views=views)


def percentiles(values: list[float]) -> tuple[float, float, float]:
    """p20, p50 and p80."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    cuts = quantiles(values, n=10, method="inclusive")
    return cuts[1], cuts[4], cuts[7]
