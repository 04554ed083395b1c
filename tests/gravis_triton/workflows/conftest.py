"""Running a recipe or, where it has none, a job as a user does, small enough for a test."""

from functools import partial

import pytest
import torch
from accelerate.state import AcceleratorState, GradientState, PartialState
from forked import FIGURES, PAGES, leave_out, run_recipe


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
def launch(fork, without):
    """Start a recipe in one or more processes of its own."""
    return partial(fork, partial(run_recipe, without=without), ACCELERATE_USE_CPU="true")


@pytest.fixture
def run_here(monkeypatch, capsys):
    """Run a recipe in this process; returns its exit status, stdout and stderr."""

    threads = torch.get_num_threads()
    # one thread, as in a process of its own: sums over threads differ in their last bits
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)

    def run(recipe: str, *flags: str) -> tuple[int, str, str]:
        monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
        for state in (AcceleratorState, PartialState, GradientState):
            state._reset_state()
        with pytest.raises(SystemExit) as exit:
            run_recipe(recipe, *flags)
        out, err = capsys.readouterr()
        return int(exit.value.code or 0), out, err

    yield run
    torch.set_num_threads(threads)


@pytest.fixture
def without(request) -> list[str]:
    """What the runs of a test leave out: what is drawn, unless the test looks at it."""
    return PAGES * ("with_pages" not in request.fixturenames) + FIGURES * ("with_figures" not in request.fixturenames)


@pytest.fixture(autouse=True)
def nothing_drawn(without):
    with leave_out(without):
        yield


@pytest.fixture
def with_figures():
    """The runs of a test write their figures."""


@pytest.fixture
def with_pages(with_figures):
    """The runs of a test write report.html and their figures."""
