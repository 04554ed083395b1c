"""Processor cores: how many this process may use, and how long it waits for them."""

import os
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_SPIN_COUNT = "1000"  # turns of a loop; libgomp's default is 300,000


def available_cores(cgroups: Path = _CGROUPS) -> int:
    """Cores that this process may use: those it may run on (affinity), at most its container's quota; at least 1."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota(cgroups)
    return allowed if quota is None else max(1, min(allowed, int(quota)))


def spin_briefly() -> None:
    """Have OpenMP's threads (libgomp) spin for each other only briefly before they sleep: where other work shares the
    cores, a thread that spins holds the core that the other one needs. Must be called before torch is imported; changes
    nothing that the user set."""
    if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = _SPIN_COUNT


def seconds_waited() -> float:
    """Seconds for which the threads of this process were ready to run but had no core, added up; 0 where the system
    does not say."""
    waited = 0.0
    for file in Path("/proc/self/task").glob("*/schedstat"):
        try:
            waited += int(file.read_text().split()[1]) / 1e9
        except (OSError, IndexError, ValueError):  # the thread has ended
            continue
    return waited


def _quota(cgroups: Path) -> float | None:
    """Cores' worth of time of the container (cgroup v2 or v1); None without a limit."""
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
