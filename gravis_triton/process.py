"""This process: its cores, the signals that stop it, and the launcher that started it."""

import ctypes
import os
import re
import signal
import sys
from pathlib import Path

import psutil

STOP_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGUSR1", "SIGHUP") if hasattr(signal, name)
)
"""Signals by which users, launchers and clusters ask a run to stop; Windows has only the first two."""

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_CGROUPS = Path("/sys/fs/cgroup")
_SPIN_COUNT = "1000"  # iterations of a loop; libgomp's default is 300,000


def available_cores(cgroups: Path = _CGROUPS) -> int:
    """Cores that this process may use: its CPU affinity, limited by its container's quota; at least 1."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota(cgroups)
    return allowed if quota is None else max(1, min(allowed, int(quota)))


def _quota(cgroups: Path) -> float | None:
    """The container's CPU quota in cores (cgroup v2 or v1); None without a limit."""
    for limit, period in (("cpu.max", ""), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            values = (cgroups / limit).read_text().split()
            values += (cgroups / period).read_text().split() if period else []
            quota, length = (int(value) for value in values)
        except (OSError, ValueError):  # no such file, or "max": no limit
            continue
        if quota > 0:
            return quota / length
    return None


def limit_openmp_spin() -> None:
    """Make OpenMP threads (libgomp) spin only briefly before they sleep: if other work shares the cores, a spinning
    thread occupies the core that the thread it waits for needs. Must be called before torch is imported; does not
    override the user's settings."""
    if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = _SPIN_COUNT


def is_launched() -> bool:
    """Whether `accelerate launch` or torchrun started this process."""
    return not {"ACCELERATE_MIXED_PRECISION", "TORCHELASTIC_RUN_ID"}.isdisjoint(os.environ)


def user_has_set(variable: str) -> bool:
    """Whether an environment variable was set before the launcher started this process, so not by the launcher."""
    launcher = psutil.Process().parent() if is_launched() else None
    return variable in (os.environ if launcher is None else launcher.environ())


def die_with_launcher() -> None:
    """Treat the launcher's death as SIGTERM, so that no training continues unnoticed (on Linux); warn if it started
    fewer processes than requested. Does nothing without a launcher."""
    if not is_launched():
        return
    launcher = psutil.Process().parent()
    signal_on_parents_death(signal.SIGTERM)
    if launcher is None or os.getppid() != launcher.pid:  # it has ended in the meantime
        os.kill(os.getpid(), signal.SIGTERM)
        return
    requested = re.search(r"--num[_-]processes[ =](\d+)", " ".join(launcher.cmdline()))
    if requested and int(requested[1]) > 1 and "WORLD_SIZE" not in os.environ:
        print(
            f"warning: accelerate launch started one process, not {requested[1]}: on a CPU add --multi_cpu",
            file=sys.stderr,
        )


def signal_on_parents_death(number: int) -> None:
    """Receive a signal (0 for none) when the parent process ends for any reason. Works on Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)
