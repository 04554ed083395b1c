"""Triton kernels run in Triton's interpreter where there is no GPU; that is decided before triton is imported.

`import image_shards` works in every test.
"""

import gc
import multiprocessing
import os
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import torch

with suppress(ImportError):  # where only the tests of kernels run
    import hypothesis

    hypothesis.settings.register_profile("no deadline", deadline=None)  # the first example imports
    hypothesis.settings.load_profile("no deadline")

sys.path.insert(0, str(Path(__file__).parent))

if "PYTEST_XDIST_WORKER" in os.environ:  # as many workers as cores: one thread each, children included
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))

if sys.platform != "win32":  # tests' processes are forked from one that has imported what of these there is
    multiprocessing.set_forkserver_preload(
        ["pytest", "torch._dynamo", "gravis_kernels.modules"]
        + [
            f"gravis_triton.workflows.{name}"
            for name in ("pretrain", "finetune", "evaluate", "embed", "predict", "compare")
        ]
    )

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """With -n, all tests of a file go to one process: they share runs, or what was compiled. Whole runs come first, so
    that the processes end together."""
    from xdist.scheduler import LoadFileScheduling

    config.option.loadscopereorder = False
    return LoadFileScheduling(config, log)


def pytest_collection_finish() -> None:
    gc.freeze()  # what has been imported is not searched for garbage again


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--campaign-out", metavar="FILE", help="JSON file for the results of -m campaign")


def _turn(item: pytest.Item) -> int:
    """Jobs forked from the process of the tests come first, as a backward pass ends that; whole runs follow."""
    if "campaign" in item.path.parts:
        return 0
    return 1 if item.path.name == "test_tutorial.py" or "workflows" in item.path.parts else 2


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=_turn)
    if "campaign" not in config.option.markexpr:
        skip_long = pytest.mark.skip(reason="takes half an hour: pytest -m campaign")
        for item in items:
            if "campaign" in item.keywords and item.get_closest_marker("campaign"):
                item.add_marker(skip_long)
    if torch.cuda.is_available():
        return
    skip = pytest.mark.skip(reason="no GPU on this machine")
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(skip)
