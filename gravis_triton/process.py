"""This process: its cores, the signals that stop it, and the launcher that started it."""

import ctypes
import os
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil

from gravis_triton.errors import UserError

STOP_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGUSR1", "SIGHUP") if hasattr(signal, name)
)
"""Signals by which users, launchers and clusters ask a run to stop; Windows has only the first two."""

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_OTHER_ENGINES = ("DEEPSPEED", "MEGATRON_LM", "PARALLELISM_CONFIG")
_PROCESS_COUNTS = {"WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE"}  # of torchrun and MPI
_SPIN_COUNT = "1000"  # iterations of a loop; libgomp's default is 300,000


def available_cores() -> int:
    """Cores that this process may use: its CPU affinity, limited by its container's quota; at least 1."""
    from joblib import cpu_count

    return cpu_count()


def limit_openmp_spin() -> None:
    """Make OpenMP threads (libgomp) spin only briefly before they sleep: if other work shares the cores, a spinning
    thread occupies the core that the thread it waits for needs. Must be called before torch is imported; does not
    override the user's settings."""
    if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = _SPIN_COUNT


def is_launched() -> bool:
    """Whether `accelerate launch` or torchrun started this process."""
    return not {"ACCELERATE_MIXED_PRECISION", "TORCHELASTIC_RUN_ID"}.isdisjoint(os.environ)


def launcher() -> psutil.Process | None:
    """The launcher that started this process; None without one, or if it has ended."""
    return psutil.Process().parent() if is_launched() else None


def user_has_set(variable: str) -> bool:
    """Whether an environment variable was set before the launcher started this process, so not by the launcher."""
    started_by = launcher()
    return variable in (os.environ if started_by is None else started_by.environ())


def die_with_launcher() -> None:
    """Treat the launcher's death as SIGTERM, so that no training continues unnoticed (on Linux). Does nothing without a
    launcher."""
    if not is_launched():
        return
    started_by = launcher()
    signal_on_parents_death(signal.SIGTERM)
    if started_by is None or os.getppid() != started_by.pid:  # it has ended in the meantime
        os.kill(os.getpid(), signal.SIGTERM)


def check_launch() -> None:
    """Raise UserError if the launcher was asked for what does not happen: another engine than DDP and FSDP, or more
    processes or machines than one where accelerate starts a single process, as on CPUs."""
    if engine := next(filter(launcher_asks_for, _OTHER_ENGINES), None):
        raise UserError(
            f"the launcher asks for {engine}, which is not supported: start it with "
            "--multi_gpu, with --use_fsdp --fsdp_version 2, or by torchrun"
        )
    started_by = None if _PROCESS_COUNTS & os.environ.keys() else launcher()
    processes, machines = requested_processes([] if started_by is None else started_by.cmdline())
    if processes > 1 or machines > 1:
        several = f"--nnodes {machines} --rdzv_backend c10d --rdzv_endpoint HOST:29500 " if machines > 1 else ""
        per_machine = max(1, processes // machines)
        raise UserError(
            f"accelerate launch started one process, not {max(processes, machines)}: without GPUs use "
            f"torchrun {several}--nproc_per_node {per_machine} {_own_command()}"
        )


def launcher_asks_for(engine: str) -> bool:
    """Whether `accelerate launch` was asked for this engine, e.g. FSDP."""
    return os.environ.get(f"ACCELERATE_USE_{engine}", "false").lower() == "true"


def requested_processes(command: Sequence[str]) -> tuple[int, int]:
    """Number of processes and of machines that an `accelerate launch` command asks for, by flags or its config file."""
    is_launcher = (word == "launch" or word.endswith(("launch.py", "commands.launch")) for word in command)
    start = next((place for place, found in enumerate(is_launcher) if found), None)
    if start is None:
        return 1, 1
    from accelerate.commands.config.config_args import default_config_file, load_config_from_file
    from accelerate.commands.launch import launch_command_parser

    flags = launch_command_parser().parse_known_args(list(command[start + 1 :]))[0]
    if not flags.config_file and (flags.cpu or not Path(default_config_file).is_file()):  # as accelerate does
        return flags.num_processes or 1, flags.num_machines or 1
    config = load_config_from_file(flags.config_file)
    return flags.num_processes or config.num_processes, flags.num_machines or config.num_machines


def _own_command() -> str:
    program, *flags = sys.argv
    return shlex.join(["-m", "gravis_triton", *flags] if program.endswith("__main__.py") else [program, *flags])


def signal_on_parents_death(number: int) -> None:
    """Receive a signal (0 for none) when the parent process ends for any reason. Works on Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)
