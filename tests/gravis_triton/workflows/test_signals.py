"""What a cluster does: signals to the whole process group, launchers that die, processes that hang."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

GROUP = {"start_new_session": True, "text": True, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
LAUNCHERS = {
    "timeout": ["timeout", "300", sys.executable, "-m", "gravis_triton", "pretrain"],
    "accelerate": [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "-m", "gravis_triton", "pretrain"],
    "torchrun": [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2",
        "-m", "gravis_triton", "pretrain",
    ],
}  # fmt: skip
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
if torch.accelerator.is_available():
    ENVIRONMENT["ACCELERATE_USE_CPU"] = "true"  # a machine without a GPU is recognized as one


@pytest.fixture
def start(tiny, tmp_path):
    """Start a long run in a process group of its own and wait until it trains."""
    started = []

    def start(launcher: str, *flags: str) -> subprocess.Popen[str]:
        command = [*LAUNCHERS[launcher], *tiny, "--no-evaluate", "--epochs", "500", *flags]
        command += ["--output-dir", str(tmp_path / "run")]
        process = subprocess.Popen(command, env=os.environ | ENVIRONMENT, **GROUP)
        started.append(process)
        assert process.stdout is not None
        head = ""
        for line in process.stdout:
            head += line
            if line.startswith("epoch 1/"):
                assert f"x {1 + (launcher == 'torchrun')} process" in head
                return process
        raise AssertionError(process.stderr.read())

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def wait_until_gone(directory, seconds: float) -> None:
    """Wait until no process is left of those whose command names a directory."""
    end = time.monotonic() + seconds
    while str(directory) in subprocess.run(["ps", "-ww", "-eo", "args="], capture_output=True, text=True).stdout:
        assert time.monotonic() < end, f"still running after {seconds} s"
        time.sleep(0.1)


@pytest.mark.parametrize(("launcher", "workers"), [("timeout", 1), ("accelerate", 0), ("torchrun", 1)])
def test_a_signal_to_the_whole_group_ends_in_a_checkpoint(start, tmp_path, launcher, workers):
    process = start(launcher, "--num-workers", str(workers))
    os.killpg(process.pid, signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    wait_until_gone(tmp_path, 20)
    if launcher == "timeout":  # which passes on what the run gets as well: one signal too many
        assert process.returncode == 128 + signal.SIGTERM
        assert err == ""
    assert "stopped after step" in out
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir() if "partial" in path.name] == []
    assert list((tmp_path / "run" / "checkpoints").glob("step-*"))


@pytest.mark.parametrize(("launcher", "number"), [("accelerate", signal.SIGTERM), ("torchrun", signal.SIGKILL)])
def test_training_ends_with_its_launcher_after_a_checkpoint(start, tmp_path, launcher, number):
    process = start(launcher)
    process.send_signal(number)
    process.wait(timeout=60)
    wait_until_gone(tmp_path, 20)
    assert list((tmp_path / "run" / "checkpoints").glob("step-*"))


def test_one_process_instead_of_two_is_an_error_with_the_command_that_starts_two(tiny, tmp_path):
    command = [*LAUNCHERS["accelerate"], *tiny, "--max-steps", "1", "--output-dir", str(tmp_path / "run")]
    command[4:4] = ["--num_processes", "2"]
    ended = subprocess.run(command, capture_output=True, text=True)
    message = next(line for line in ended.stderr.splitlines() if line.startswith("error: "))
    assert message.startswith("error: accelerate launch started one process, not 2: without GPUs use ")
    assert "torchrun --nproc_per_node 2 -m gravis_triton pretrain --model test_resnet" in message
    assert ended.returncode != 0
    assert not (tmp_path / "run").exists()


def test_a_killed_process_ends_the_others_within_seconds_by_one_line(start, tmp_path):
    process = start("torchrun")
    others = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split()
    os.kill(int(others[-1]), signal.SIGKILL)
    _, err = process.communicate(timeout=20)
    wait_until_gone(tmp_path, 10)
    assert "error: another process hangs or has ended: its own output says why" in err
    assert "Traceback" not in err.split("torch/distributed/elastic")[0]
