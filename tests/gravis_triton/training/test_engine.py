import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from unittest.mock import patch

import torch
from torch import nn

from gravis_triton.errors import UserError
from gravis_triton.settings.groups import RunSettings
from gravis_triton.training import engine
from gravis_triton.training.engine import undo_bad_step
from gravis_triton.training.setup import start_accelerator


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))


def test_a_step_without_a_finite_gradient_leaves_no_trace() -> None:
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    buffers = [buffer.clone() for buffer in model.buffers()]
    images = torch.randn(5, 4)
    images[2, 1] = torch.inf
    model(images).square().sum().backward()
    assert not model[1].running_mean.isfinite().all()
    assert undo_bad_step(model, buffers)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(torch.equal(p.grad, torch.zeros_like(p)) for p in model.parameters())


def test_a_good_step_stays() -> None:
    model = network()
    buffers = [buffer.clone() for buffer in model.buffers()]
    model(torch.randn(5, 4)).pow(3).sum().backward()
    assert not undo_bad_step(model, buffers)
    assert model[1].num_batches_tracked == 1
    assert any(p.grad.abs().sum() > 0 for p in model.parameters())


def reduce_alone(done: Path) -> None:
    """The first of two processes waits for the second, which does not respond for a minute."""
    accelerator = start_accelerator(RunSettings())
    start = time.monotonic()
    with patch.object(engine, "STEP_PATIENCE", timedelta(seconds=0.5)), suppress(UserError), engine._step_timeout():
        if accelerator.is_main_process:
            accelerator.reduce(torch.ones(1))
    if accelerator.is_main_process:
        print(time.monotonic() - start)
        done.touch()
    while not done.exists() and time.monotonic() - start < 60:
        time.sleep(0.02)


def test_a_process_that_hangs_within_an_epoch_is_an_error(fork, tmp_path) -> None:
    _, out, err = fork(reduce_alone, tmp_path / "done", processes=2, ACCELERATE_USE_CPU="true").wait()
    assert 0.5 <= float(out) < 30, err
