import os
import subprocess
import sys

import pytest

from gravis_triton import process
from gravis_triton.errors import UserError, is_lost_process
from gravis_triton.process import (
    available_cores,
    check_launch,
    is_launched,
    limit_openmp_spin,
    requested_processes,
    user_has_set,
)


def test_cores_are_limited_by_the_affinity(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3}, raising=False)
    assert available_cores() == 1


@pytest.mark.parametrize(
    ("variables", "launched"),
    [({}, False), ({"TORCHELASTIC_RUN_ID": "1"}, True), ({"ACCELERATE_MIXED_PRECISION": "no"}, True)],
)
def test_launchers_are_known_by_the_variables_that_they_set(monkeypatch, variables, launched):
    for name in ("TORCHELASTIC_RUN_ID", "ACCELERATE_MIXED_PRECISION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert is_launched() == launched


def test_without_a_launcher_every_variable_is_the_users(monkeypatch):
    monkeypatch.setattr(process, "is_launched", lambda: False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert user_has_set("OMP_NUM_THREADS")
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert not user_has_set("OMP_NUM_THREADS")


def test_what_a_launcher_has_added_to_the_environment_is_not_the_users(monkeypatch):
    monkeypatch.setattr(process, "is_launched", lambda: True)
    monkeypatch.setenv("SET_BY_THE_LAUNCHER", "1")
    assert not user_has_set("SET_BY_THE_LAUNCHER")
    assert user_has_set("PATH")  # of this process's parent as well


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"GOMP_SPINCOUNT": "1000"}),
        ({"GOMP_SPINCOUNT": "7"}, {"GOMP_SPINCOUNT": "7"}),
        ({"OMP_WAIT_POLICY": "active"}, {"OMP_WAIT_POLICY": "active"}),
    ],
)
def test_openmp_threads_spin_briefly_unless_the_user_decides(monkeypatch, before, after):
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in before.items():
        monkeypatch.setenv(name, value)
    limit_openmp_spin()
    assert {name: os.environ.get(name) for name in after} == after
    assert len({"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys()) == 1


def test_the_command_line_decides_before_torch_is_imported():
    code = """
import os, sys, gravis_triton.cli as cli
cli.Job.load = lambda job: lambda settings: print("torch" in sys.modules, os.environ.get("GOMP_SPINCOUNT"))
cli.run_job("runs", [])
"""
    environment = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert ended.stdout.split() == ["False", "1000"]


LAUNCH = ["python", "/bin/accelerate", "launch"]
JOB = ["-m", "gravis_triton", "pretrain", "--batch-size", "8"]


@pytest.mark.parametrize(
    ("command", "asked"),
    [
        (["python", "-m", "torch.distributed.run", "--nproc_per_node", "2", *JOB], (1, 1)),
        ([*LAUNCH, *JOB], (1, 1)),
        ([*LAUNCH, "--cpu", "--num_processes", "2", *JOB], (2, 1)),
        ([*LAUNCH, "--cpu", "--num-processes=4", "--num_machines", "2", *JOB], (4, 2)),
        (["python", "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "3", *JOB], (3, 1)),
    ],
)
def test_requested_processes_are_those_of_the_launchers_flags(command, asked, tmp_path, monkeypatch):
    monkeypatch.setattr("accelerate.commands.config.config_args.default_config_file", str(tmp_path / "none"))
    assert requested_processes(command) == asked


def test_requested_processes_are_those_of_the_launchers_config_file(tmp_path):
    config = tmp_path / "two.yaml"
    config.write_text(
        "compute_environment: LOCAL_MACHINE\ndistributed_type: MULTI_CPU\nnum_processes: 2\nnum_machines: 1\n"
        "mixed_precision: 'no'\nuse_cpu: true\n"
    )
    assert requested_processes([*LAUNCH, "--config_file", str(config), *JOB]) == (2, 1)
    assert requested_processes([*LAUNCH, "--config_file", str(config), "--num_processes", "3", *JOB]) == (
        3,
        1,
    )


@pytest.mark.parametrize("engine", ["MEGATRON_LM", "DEEPSPEED"])
def test_another_engine_than_ddp_and_fsdp_is_an_error(monkeypatch, engine):
    monkeypatch.setenv(f"ACCELERATE_USE_{engine}", "true")
    with pytest.raises(UserError, match=f"asks for {engine}, which is not supported: start it with --multi_gpu"):
        check_launch()


@pytest.mark.parametrize(
    ("message", "lost"),
    [
        ("[gloo/transport/tcp/pair.cc:545] Read error [127.0.0.1]:8108: Connection reset by peer.", True),
        ("NCCL error: remote process exited or there was a network error", True),
        ("Timed out waiting 600000ms for recv operation to complete", True),
        ("mat1 and mat2 shapes cannot be multiplied", False),
    ],
)
def test_a_lost_process_is_distinguished_from_other_errors(message, lost):
    assert is_lost_process(RuntimeError(message)) == lost
