"""Time and memory of a call on a CPU or GPU, and a description of the machine.

    python kernels/benchmarks/measure.py FILE

writes the description as JSON: processor or GPU, driver and versions.
"""

import ctypes
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

CLEAR_REFS = Path("/proc/self/clear_refs")


def measure_seconds(call: Callable[[], object], device: torch.device) -> float:
    """Wall-clock time of the call, including its work on the GPU."""
    _synchronise(device)
    start = time.perf_counter()
    call()
    _synchronise(device)
    return time.perf_counter() - start


def kernel_milliseconds(step: Callable[[], object], device: torch.device, repeats: int = 3) -> dict[str, float]:
    """Milliseconds that each GPU kernel takes per step, from the profiler."""
    with profile(activities=[ProfilerActivity.CUDA]) as recorded:
        for _ in range(repeats):
            measure_seconds(step, device)
    events = [event for event in recorded.key_averages() if event.device_time_total > 0]
    return {event.key: event.device_time_total / 1e3 / repeats for event in events}


def measure_extra_bytes(call: Callable[[], object], device: torch.device) -> int | None:
    """Peak memory of the call above the memory used before; None if it cannot be measured.

    On a GPU, memory allocated by PyTorch; on a CPU, resident memory of the process (Linux only).
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        measure_seconds(call, device)
        return torch.cuda.max_memory_allocated(device) - before
    if not os.access(CLEAR_REFS, os.W_OK):
        call()
        return None
    # freed memory that the allocator keeps would hide what the call uses
    ctypes.CDLL(None).malloc_trim(0)
    CLEAR_REFS.write_text("5")  # resets the peak
    before = _resident("VmRSS")
    call()
    return max(0, _resident("VmHWM") - before)


def available_bytes(device: torch.device) -> int:
    """Memory available to a call."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Machine:
    """The machine and versions that the numbers were measured with."""

    device: str
    driver: str | None
    threads: int
    system: str
    python: str
    torch: str
    triton: str | None


def describe_machine(device: torch.device) -> Machine:
    try:
        import triton

        triton_version = triton.__version__
    except ImportError:
        triton_version = None
    return Machine(
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        driver=_driver() if device.type == "cuda" else None,
        threads=torch.get_num_threads(),
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        torch=torch.__version__,
        triton=triton_version,
    )


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _resident(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {field}")


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _driver() -> str | None:
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, check=True).stdout.splitlines()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return None


if __name__ == "__main__":
    here = asdict(describe_machine(torch.device("cuda" if torch.cuda.is_available() else "cpu")))
    Path(sys.argv[1]).write_text(json.dumps(here, indent=1) + "\n")
    print(here)
