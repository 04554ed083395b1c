"""`import cases` and the benchmarks' modules work in every test of this folder; fixtures of several files."""

import functools
import os
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "kernels" / "benchmarks")]


def replace_triton_language_once() -> None:
    """Triton's interpreter replaces its whole language at every call of a device function: half of its time."""
    from triton.runtime import interpreter

    replace = functools.cache(interpreter._patch_lang)

    def replace_for_good(function: Callable[..., Any]) -> SimpleNamespace:
        replace(function)
        return SimpleNamespace(restore=lambda: None)

    interpreter._patch_lang = replace_for_good


if os.environ.get("TRITON_INTERPRET") == "1" and find_spec("triton"):
    replace_triton_language_once()


@pytest.fixture
def buffers_full_of_nan(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a Triton kernel is to write starts as NaN, so that what it forgets shows."""
    from gravis_kernels.gravis import triton_work

    def new(work: Any, *shape: int) -> torch.Tensor:
        return torch.full(shape, torch.nan, device=work.columns.device)

    monkeypatch.setattr(triton_work.Work, "new", new)
