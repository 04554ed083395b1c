"""Steps without a finite gradient, in runs of pre-training."""

import json

import pytest
import torch
from accelerate import Accelerator


@pytest.fixture
def pretrain(run_here, tiny, tmp_path):
    """Twelve steps; returns status, error output and metrics."""

    def run(name: str, *flags: str):
        directory = tmp_path / name
        status, _, err = run_here("pretrain.py", *tiny, "--log-every", "1", *flags, "--output-dir", str(directory))
        lines = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
        return status, err, [line for line in lines if "loss" in line]

    return run


@pytest.fixture
def spoilt(monkeypatch):
    """Steps 3 and 5 have an infinite gradient."""
    backward, count = Accelerator.backward, iter(range(1, 1000))

    def spoil(self, loss):
        backward(self, loss)
        if next(count) in (3, 5):
            next(self._models[-1].parameters()).grad[0] = torch.inf

    monkeypatch.setattr(Accelerator, "backward", spoil)


def test_bad_steps_are_left_out_and_counted(pretrain, spoilt):
    status, err, lines = pretrain("run", "--max-bad-steps", "2")
    assert (status, err) == (0, "")
    assert [line["bad_steps"] for line in lines] == [0, 0, 1, 1] + 8 * [2]


def test_one_more_than_allowed_stops_the_run(pretrain, spoilt):
    status, err, lines = pretrain("run", "--max-bad-steps", "1")
    assert status == 2
    assert "non-finite gradient at step 5, after 1 earlier (--max-bad-steps): lower --lr" in err
    assert len(lines) == 4


def test_without_the_flag_the_first_one_stops_the_run(pretrain, spoilt):
    status, err, _ = pretrain("run")
    assert status == 2
    assert "a weight is not finite at step 3" in err


def test_a_run_without_bad_steps_is_the_same_with_and_without_the_flag(pretrain):
    timed = ("second", "time", "wait")
    losses = [
        [{k: v for k, v in line.items() if not any(word in k for word in timed)} for line in lines]
        for _, _, lines in (pretrain("one"), pretrain("other", "--max-bad-steps", "3"))
    ]
    assert losses[0] == losses[1]


def test_a_scaler_that_finds_no_scale_stops_the_run(pretrain, monkeypatch):
    monkeypatch.setattr("accelerate.optimizer.AcceleratedOptimizer.step_was_skipped", True)
    status, err, lines = pretrain("run", "--max-steps", "40", "--epochs", "20")
    assert status == 2
    assert "no finite gradient since step 0: lower --lr" in err
    assert len(lines) == 30
    assert all(line["loss"] is None for line in lines)
