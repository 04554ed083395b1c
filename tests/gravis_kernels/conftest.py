"""`import cases` and the benchmarks' modules work in every test of this folder; fixtures of several files."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "kernels" / "benchmarks")]


@pytest.fixture
def buffers_full_of_nan(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a Triton kernel is to write starts as NaN, so that what it forgets shows."""
    from gravis_kernels.gravis import triton_work

    def new(work: Any, *shape: int) -> torch.Tensor:
        return torch.full(shape, torch.nan, device=work.columns.device)

    monkeypatch.setattr(triton_work.Work, "new", new)
