"""Distribute work over processes that end with their parent, however it ends."""

import os
import subprocess
import sys
from collections.abc import Callable, Generator, Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

from gravis_triton.errors import UserError

Job = TypeVar("Job")
Result = TypeVar("Result")


def results_of(
    work: Callable[[Job], Result], jobs: Sequence[Job], *, workers: int
) -> Generator[tuple[Job, Result], None, None]:
    """Yield (job, work(job)) as `workers` new processes finish them; with 0, in order in this process.

    `work`, jobs and results must be picklable. What `work` raises is raised here; then, or if the caller stops early,
    the processes are terminated. Raises UserError if a process was killed.

    These are plain interpreters: processes of the multiprocessing module would first import the caller's main module
    and with it all of torch, and its pools hang after a second Ctrl-C or when a process is killed.
    """
    if workers == 0:
        for job in jobs:
            yield job, work(job)
        return
    waiting = list(reversed(jobs))
    busy: dict[Connection, Job] = {}
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for _ in range(min(workers, len(jobs))):
            connection, process = _started()
            processes.append(process)
            connection.send(work)
            _give(connection, waiting, busy)
        while busy:
            for ready in wait(list(busy)):
                assert isinstance(ready, Connection)
                result = _receive(ready)
                job = busy.pop(ready)
                _give(ready, waiting, busy)
                yield job, result
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()


def _started() -> tuple[Connection, subprocess.Popen[bytes]]:
    here, there = Pipe()
    with there:
        process = subprocess.Popen(
            [sys.executable, "-m", "gravis_triton.data.cache.worker", str(there.fileno())],
            pass_fds=[there.fileno()],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            start_new_session=True,  # only this process gets Ctrl-C
        )
    return here, process


def _give(connection: Connection, waiting: list[Job], busy: dict[Connection, Job]) -> None:
    if waiting:
        job = waiting.pop()
        connection.send(job)
        busy[connection] = job


def _receive(connection: Connection) -> Any:
    try:
        result = connection.recv()
    except (EOFError, ConnectionResetError) as error:
        raise UserError("a worker process was killed, perhaps out of memory: use fewer workers") from error
    if isinstance(result, Exception):
        raise result
    return result
