"""Running a recipe or, where it has none, a job as a user does, small enough for a test."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState, GradientState, PartialState

from gravis_triton import cli

RECIPES = Path(__file__).parents[3] / "recipes"


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def tiny(cache):
    """Flags that make a pre-training run small."""
    return (
        "--model test_resnet --image-size 32 --synthetic-images 60 --views 3 --batch-size 8 --epochs 2 "
        f"--num-workers 0 --log-every 2 --cache-dir {cache}"
    ).split()


@pytest.fixture
def launch():
    """Start a recipe in one or more processes of its own; returns the (first) process."""

    def start(recipe: str, *flags: str, processes: int = 1, say_cpu: bool = True) -> subprocess.Popen[str]:
        torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
        program = [str(RECIPES / recipe)]
        if not (RECIPES / recipe).is_file():
            program = ["-m", "gravis_triton", recipe.removesuffix(".py")]
        return subprocess.Popen(
            [sys.executable, *(torchrun if processes > 1 else []), *program, *flags],
            env={
                **os.environ,
                **({"ACCELERATE_USE_CPU": "true"} if say_cpu else {}),
                "OMP_NUM_THREADS": "1",
                "PYTHONUNBUFFERED": "1",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.fixture
def run_here(monkeypatch, capsys):
    """Run a recipe in this process; returns its exit status, stdout and stderr."""

    threads = torch.get_num_threads()
    # one thread, as in a process of its own: sums over threads differ in their last bits
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)

    def start(recipe: str, *flags: str) -> None:
        if (RECIPES / recipe).is_file():
            runpy.run_path(str(RECIPES / recipe), run_name="__main__")
        cli.main([recipe.removesuffix(".py"), *flags])

    def run(recipe: str, *flags: str) -> tuple[int, str, str]:
        monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
        monkeypatch.setattr(sys, "argv", [recipe, *flags])
        for state in (AcceleratorState, PartialState, GradientState):
            state._reset_state()
        with pytest.raises(SystemExit) as exit:
            start(recipe, *flags)
        out, err = capsys.readouterr()
        return int(exit.value.code or 0), out, err

    yield run
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def without_pages(request, monkeypatch):
    """Most runs here are not looked at: no pages, which would take longer than the runs."""
    if "with_pages" in request.fixturenames:
        return
    for module in ("pretrain", "annotated"):
        monkeypatch.setattr(f"gravis_triton.workflows.{module}.write_run_report", lambda run: None)


@pytest.fixture
def with_pages():
    """The runs of a test write report.html."""
