"""Work in several processes: results, faults, and that none is left behind."""

import math
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gravis_triton.data.cache.workers import results_of
from gravis_triton.errors import UserError


def children() -> set[str]:
    file = Path(f"/proc/self/task/{threading.get_native_id()}/children")
    return set(file.read_text().split()) if file.exists() else set()


@pytest.fixture(autouse=True)
def no_process_is_left_behind() -> Iterator[None]:
    before = children()
    yield
    assert children() <= before


def process_after(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_every_job_has_its_result(workers: int) -> None:
    results = dict(results_of(math.factorial, [1, 2, 3, 4, 5], workers=workers))
    assert results == {1: 1, 2: 2, 3: 6, 4: 24, 5: 120}


def test_no_jobs_start_no_processes() -> None:
    assert list(results_of(math.factorial, [], workers=4)) == []


def test_work_is_spread_over_the_processes() -> None:
    processes = {process for _, process in results_of(process_after, [0.5] * 4, workers=4)}
    assert len(processes) > 1
    assert os.getpid() not in processes


@pytest.mark.parametrize("workers", [0, 2])
def test_what_a_job_raises_is_raised_here(workers: int) -> None:
    with pytest.raises(ValueError, match="not defined for negative"):
        list(results_of(math.factorial, [1, -1, 2], workers=workers))


def test_a_killed_process_is_told_and_not_waited_for() -> None:
    with pytest.raises(
        UserError, match="a worker process was killed, perhaps out of memory: use fewer workers"
    ):
        list(results_of(os._exit, [9, 9], workers=2))


def test_stopping_early_ends_the_processes_at_once() -> None:
    results = results_of(time.sleep, [0.0, 60.0, 60.0], workers=2)
    assert next(results) == (0.0, None)
    started = time.perf_counter()
    results.close()
    assert time.perf_counter() - started < 30
