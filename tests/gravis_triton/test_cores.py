import os
import subprocess
import sys

import pytest

from gravis_triton.cores import available_cores, spin_briefly


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 8),
        ({"cpu.max": "max 100000"}, 8),
        ({"cpu.max": "300000 100000"}, 3),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu.max": "6400000 100000"}, 8),
        ({"cpu/cpu.cfs_quota_us": "250000", "cpu/cpu.cfs_period_us": "100000"}, 2),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8),
    ],
)
def test_cores_are_those_of_the_affinity_and_of_the_containers_quota(tmp_path, monkeypatch, files, cores):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    assert available_cores(tmp_path) == cores


@pytest.mark.skipif(
    not os.path.exists("/proc/self/schedstat"), reason="the system does not say how long threads wait"
)
def test_threads_that_share_a_core_wait_for_it():
    """In a process of its own: threads of other tests may end, and what they waited goes with them."""
    code = """
import os, threading, time
from gravis_triton.cores import seconds_waited
affinity = os.sched_getaffinity(0)
end = time.monotonic() + 2
def compute():
    os.sched_setaffinity(0, {min(affinity)})
    while time.monotonic() < end:
        sum(index * index for index in range(10_000))
before = waited = seconds_waited()
child = os.fork()
if child == 0:
    compute()
    os._exit(0)
worker = threading.Thread(target=compute)
worker.start()
while worker.is_alive():
    waited = max(waited, seconds_waited())  # the last reading may find that the worker has just ended
    time.sleep(0.01)
os.waitpid(child, 0)
print(waited - before)
"""
    waited = float(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    )
    assert waited > 0.1


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"GOMP_SPINCOUNT": "1000"}),
        ({"GOMP_SPINCOUNT": "7"}, {"GOMP_SPINCOUNT": "7"}),
        ({"OMP_WAIT_POLICY": "active"}, {"OMP_WAIT_POLICY": "active"}),
    ],
)
def test_threads_spin_briefly_unless_the_user_decides(monkeypatch, before, after):
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in before.items():
        monkeypatch.setenv(name, value)
    spin_briefly()
    assert {name: os.environ.get(name) for name in after} == after
    assert len({"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys()) == 1


def test_the_command_line_decides_before_torch_is_imported():
    code = """
import os, sys, gravis_triton.cli as cli
cli._run = lambda *job: print("torch" in sys.modules, os.environ.get("GOMP_SPINCOUNT"))
cli.run_job("runs", [])
"""
    environment = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert ended.stdout.split() == ["False", "1000"]
