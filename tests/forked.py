"""Processes that start at once: forked from a server that has imported what they need, which takes seconds."""

import multiprocessing
import os
import runpy
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from gravis_triton import cli

RECIPES = Path(__file__).parents[1] / "recipes"
PAGES = [
    "workflows.pretrain._find_examples", "workflows.pretrain.write_examples", "workflows.pretrain.write_run_page",
    "workflows.annotated.write_run_page",
]  # fmt: skip
FIGURES = [
    "tasks.classification.write_class_cases", "tasks.classification.write_class_figures",
    "tasks.segmentation.write_mask_cases", "workflows.evaluate.write_class_figures",
]  # fmt: skip


class Started:
    """One process, or several that train together, with what they print."""

    def __init__(self, function: Callable[..., Any], *arguments: Any, processes: int, folder: Path, **variables: str):
        self.stdout, self.stderr = folder / "stdout.txt", folder / "stderr.txt"
        together: list[dict[str, str]] = [{}]
        if processes > 1:  # as torchrun does
            self.store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
            group = {
                "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(self.store.port), "WORLD_SIZE": str(processes),
                "TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "0",
            }  # fmt: skip
            together = [{**group, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(processes)]
        context = multiprocessing.get_context("forkserver")
        for file in (self.stdout, self.stderr):
            file.touch()
        self.processes = []
        for own in together:
            environment = {**os.environ, "OMP_NUM_THREADS": "1", **variables, **own}
            process = context.Process(target=_run, args=(self.stdout, self.stderr, environment, function, arguments))
            process.start()
            self.processes.append(process)

    def lines(self) -> Iterator[str]:
        """The lines of stdout as they are printed, until the processes have ended."""
        with self.stdout.open() as file:
            while True:
                running = any(process.is_alive() for process in self.processes)
                if line := file.readline():
                    yield line
                elif not running:
                    return
                else:
                    time.sleep(0.01)

    def send_signal(self, number: int) -> None:
        for process in self.processes:
            os.kill(process.pid, number)

    def wait(self, timeout: float = 240) -> tuple[int, str, str]:
        """Exit status of the first process to fail, else 0, negative if a signal killed it; stdout; stderr."""
        for process in self.processes:
            process.join(timeout)
            assert process.exitcode is not None, f"still running after {timeout} s"
        status = next((process.exitcode for process in self.processes if process.exitcode), 0)
        return status, self.stdout.read_text(), self.stderr.read_text()

    def kill(self) -> None:
        for process in self.processes:
            if process.is_alive():
                process.kill()
            process.join()


def _run(out: Path, err: Path, environment: dict[str, str], function: Callable[..., Any], arguments: Any) -> None:
    os.environ.clear()
    os.environ.update(environment)
    torch.set_num_threads(1)
    multiprocessing.set_start_method(None, force=True)  # the platform's, for its own processes
    for file, stream in ((out, sys.stdout), (err, sys.stderr)):
        os.dup2(os.open(file, os.O_WRONLY | os.O_APPEND), stream.fileno())
        stream.reconfigure(line_buffering=True)
    function(*arguments)


def run_script(file: Path, *flags: str) -> None:
    """Run a script as from a command line."""
    path = [str(file.parent), *sys.path]
    with patch.object(sys, "argv", [file.name, *flags]), patch.object(sys, "path", path):
        runpy.run_path(str(file), run_name="__main__")


@contextmanager
def leave_out(functions: Sequence[str]) -> Iterator[None]:
    """Functions of gravis_triton do nothing: drawing, of which a test sees nothing, takes longer than a small run."""
    with ExitStack() as stack:
        for function in functions:
            stack.enter_context(patch(f"gravis_triton.{function}", lambda *_, **__: None))
        yield


def run_recipe(recipe: str, *flags: str, without: Sequence[str] = ()) -> None:
    """Run a recipe or, where a job has none, the job, as from a command line, leaving out some functions."""
    with leave_out(without):
        if (RECIPES / recipe).is_file():
            run_script(RECIPES / recipe, *flags)
        else:
            cli.main([recipe.removesuffix(".py"), *flags])
