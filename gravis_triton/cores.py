"""Processor cores: how many this process may use, and how long it waits for them."""

import os
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_SPIN_COUNT = "1000"  # iterations of a loop; libgomp's default is 300,000


def available_cores(cgroups: Path = _CGROUPS) -> int:
    """Cores that this process may use: its CPU affinity, limited by its container's quota; at least 1."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota(cgroups)
    return allowed if quota is None else max(1, min(allowed, int(quota)))


def spin_briefly() -> None:
    """Make OpenMP threads (libgomp) spin only briefly before they sleep: if other work shares the cores, a spinning
    thread occupies the core that the thread it waits for needs. Must be called before torch is imported; does not
    override the user's settings."""
    if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = _SPIN_COUNT


def seconds_waited() -> float:
    """Total seconds for which threads of this process were ready to run but had no core; 0 if the system does not
    report it."""
    waited = 0.0
    for file in Path("/proc/self/task").glob("*/schedstat"):
        try:
            waited += int(file.read_text().split()[1]) / 1e9
        except (OSError, IndexError, ValueError):  # the thread has ended
            continue
    return waited


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
