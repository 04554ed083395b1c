"""The launcher of this process, `accelerate launch` or torchrun: stop if it dies, and detect missing processes."""

import ctypes
import os
import re
import signal
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)
"""Signals by which users, launchers and clusters ask a run to stop."""
_LAUNCHER = re.compile(r"accelerate|torchrun|torch[./]distributed")


def follow_launcher() -> None:
    """Treat the launcher's death as SIGTERM, so that no training continues unnoticed; warn if it started fewer
    processes than requested. Does nothing without a launcher, and on systems other than Linux."""
    command = _parents_command()
    if not has_launcher():
        return
    signal_on_parents_death(signal.SIGTERM)
    if not _parents_command():  # it died in the meantime
        os.kill(os.getpid(), signal.SIGTERM)
    asked = re.search(r"--num[_-]processes[ =](\d+)", " ".join(command))
    if asked and int(asked[1]) > 1 and "WORLD_SIZE" not in os.environ:
        print(
            f"warning: accelerate launch started one process, not {asked[1]}: on a CPU add --multi_cpu",
            file=sys.stderr,
        )


def has_launcher() -> bool:
    """Whether a launcher started this process and is still running."""
    return any(_LAUNCHER.search(part) for part in _parents_command()[:3])


def user_has_set(variable: str) -> bool:
    """Whether an environment variable was set before the launcher started this process, so not by the launcher."""
    if not has_launcher():
        return variable in os.environ
    try:
        environment = Path(f"/proc/{os.getppid()}/environ").read_text(errors="replace").split("\0")
    except OSError:
        return variable in os.environ
    return any(entry.startswith(f"{variable}=") for entry in environment)


def leave_launcher() -> None:
    """Stop treating the launcher's death as a signal."""
    signal_on_parents_death(0)


def _parents_command() -> list[str]:
    file = Path(f"/proc/{os.getppid()}/cmdline")
    try:
        return file.read_text(errors="replace").split("\0")[:-1]
    except OSError:
        return []


def signal_on_parents_death(number: int) -> None:
    """Receive a signal (0 for none) when the parent process ends for any reason. Works on Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)
