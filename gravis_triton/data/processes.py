"""Spreading work over processes that end with their parent, however it ends."""

import multiprocessing
import signal
import sys
import traceback
from collections.abc import Callable, Generator, Sequence
from multiprocessing.connection import Connection, wait
from types import FrameType
from typing import Any, TypeVar

from gravis_triton.errors import UserError

Job = TypeVar("Job")
Result = TypeVar("Result")


def results_of(
    work: Callable[[Job], Result], jobs: Sequence[Job], *, workers: int
) -> Generator[tuple[Job, Result], None, None]:
    """(job, work(job)) as they get finished by `workers` new processes; with 0, in order in this process.

    `work`, jobs and results must pickle. What `work` raises is raised here; then, as when the caller stops early, the
    processes are ended. The standard library's pools are not used: after a second Ctrl-C one waits for its processes
    forever, the other for a process that was killed. Raises UserError when a process was killed.
    """
    if workers == 0:
        for job in jobs:
            yield job, work(job)
        return
    context = _context()
    waiting = list(reversed(jobs))
    busy: dict[Connection, Job] = {}
    processes = []
    try:
        for _ in range(min(workers, len(jobs))):
            here, there = context.Pipe()
            process = context.Process(target=_serve, args=(there, work), daemon=True)
            process.start()
            there.close()
            processes.append(process)
            _give(here, waiting, busy)
        while busy:
            for connection in wait(list(busy)):
                assert isinstance(connection, Connection)
                result = _receive(connection)
                job = busy.pop(connection)
                _give(connection, waiting, busy)
                yield job, result
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()


def _context() -> multiprocessing.context.ForkServerContext | multiprocessing.context.SpawnContext:
    # Not fork: the caller may hold threads (a progress display) whose locks a forked process would inherit.
    if "forkserver" in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("forkserver")
    return multiprocessing.get_context("spawn")


def _give(connection: Connection, waiting: list[Job], busy: dict[Connection, Job]) -> None:
    if waiting:
        job = waiting.pop()
        connection.send(job)
        busy[connection] = job


def _receive(connection: Connection) -> Any:
    try:
        result = connection.recv()
    except (EOFError, ConnectionResetError) as error:
        raise UserError(
            "a worker process was killed, perhaps for want of memory: use fewer workers"
        ) from error
    if isinstance(result, Exception):
        raise result
    return result


def _serve(connection: Connection, work: Callable[[Job], Result]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    signal.signal(signal.SIGTERM, _leave)
    while True:
        try:
            job = connection.recv()
        except EOFError:  # the parent ended
            return
        result: object
        try:
            result = work(job)
        except Exception as error:
            error.add_note(traceback.format_exc())
            result = error
        try:
            connection.send(result)
        except BrokenPipeError:  # the parent ended
            return


def _leave(signal_number: int, frame: FrameType | None) -> None:
    sys.exit(1)  # as an exception, so that unfinished files are removed
