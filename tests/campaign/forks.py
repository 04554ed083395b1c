"""Runs of the command line as forks of this process, which spares each of them the seconds of importing torch."""

import contextlib
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended. status: None if it had to be killed. orphans: processes of its group outlived it."""

    status: int | None
    text: str
    orphans: bool

    def fault(self, *expected: int) -> str | None:
        """What is wrong with the end itself; None if nothing."""
        errors = [line for line in self.text.splitlines() if line.startswith("error")]
        if self.status is None:
            return "hangs"
        if "Traceback" in self.text:
            return f"traceback: {self.text.strip().splitlines()[-1]}"
        if self.orphans:
            return "leaves processes"
        if self.status not in expected:
            return f"status {self.status}: {' '.join(self.text.strip().splitlines()[-1:])}"
        if self.status == 2 and len(errors) != 1:
            return f"{len(errors)} lines of error"
        return None


class Fork:
    """`gravis *argv` in a process group of its own; file_bytes: limit on the size of a file that it writes."""

    def __init__(self, argv: Sequence[object], file_bytes: int | None = None) -> None:
        self.started = time.monotonic()
        self._output, writer = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.setpgid(0, 0)
            os._exit(_run([str(arg) for arg in argv], writer, file_bytes))
        os.close(writer)
        os.set_blocking(self._output, False)
        self._text = b""
        with contextlib.suppress(PermissionError):
            os.setpgid(self.pid, self.pid)

    def send(self, number: int) -> None:
        """A signal to the whole group; nothing if it has ended."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def wait(self, seconds: float = 60) -> Ended:
        """Its end; what is left of the group after that many seconds is killed."""
        status = None
        end = time.monotonic() + seconds
        while status is None and time.monotonic() < end:
            self._read()
            pid, code = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                status = os.waitstatus_to_exitcode(code)
            else:
                time.sleep(0.01)
        orphans = status is not None and self._outlived(2)
        self.send(signal.SIGKILL)
        if status is None:
            os.waitpid(self.pid, 0)
        self._read()
        os.close(self._output)
        return Ended(status, self._text.decode(errors="replace"), orphans)

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(self._output, 65536):
                self._text += chunk

    def _outlived(self, seconds: float) -> bool:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if not any(_runs_in(group=self.pid, process=process) for process in os.listdir("/proc")):
                return False
            time.sleep(0.02)
        return True


def _runs_in(group: int, process: str) -> bool:
    """Whether a process is of a group and has not ended; one that has, and waits to be reaped, does not count."""
    if not process.isdigit():
        return False
    try:
        with open(f"/proc/{process}/stat") as file:
            state, _, own_group = file.read().rsplit(")", 1)[1].split()[:3]
    except OSError:
        return False
    return int(own_group) == group and state != "Z"


def _run(argv: list[str], writer: int, file_bytes: int | None) -> int:
    os.dup2(writer, 1)
    os.dup2(writer, 2)
    sys.stdout, sys.stderr = (os.fdopen(fd, "w", buffering=1, closefd=False) for fd in (1, 2))
    if file_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
    try:
        from gravis_triton.cli import main

        main(argv)
    except SystemExit as end:
        return int(end.code or 0)
    except BaseException:
        traceback.print_exc()
        return 99
    return 0
