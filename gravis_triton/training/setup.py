"""The processes of a training run, their threads and memory, and the model on their devices."""

import ctypes
import os
from datetime import timedelta

import torch
from accelerate import Accelerator, InitProcessGroupKwargs
from accelerate.state import AcceleratorState
from accelerate.tracking import get_available_trackers
from accelerate.utils import LoggerType
from timm.layers import convert_sync_batchnorm
from torch import nn

from gravis_triton.errors import UserError, did_you_mean
from gravis_triton.models import has_depthwise_convolutions
from gravis_triton.process import available_cores, user_has_set
from gravis_triton.settings.groups import RunSettings
from gravis_triton.training.sharding import check_sharding, fsdp_plugin, is_sharded

PATIENCE = timedelta(hours=12)
"""How long processes wait for the first one while it decodes the images or evaluates."""

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h of glibc


def start_accelerator(settings: RunSettings, *, backbone: str | None = None) -> Accelerator:
    """Join the processes started by `accelerate launch` or torchrun.

    backbone: timm name of the network to train, for which precision auto may be bfloat16. Raises UserError for a
    tracker that is not installed, for a precision that the device does not support, for a launch that shards what
    cannot be, and for an unknown backbone."""
    if settings.tracker is not None:
        available = [str(tracker) for tracker in get_available_trackers()]
        known = [tracker.value for tracker in LoggerType if tracker != LoggerType.ALL]
        if settings.tracker not in known:
            hint = did_you_mean(settings.tracker, known) or f"; known: {', '.join(known)}"
            raise UserError(f"unknown --tracker {settings.tracker}{hint}")
        if settings.tracker not in available:
            listed = ", ".join(available) or "none of those that accelerate supports"
            raise UserError(f"--tracker {settings.tracker} is not installed; installed: {listed}")
    plugin = fsdp_plugin()
    AcceleratorState._reset_state()  # else all jobs of this process would use the precision of the first
    try:
        accelerator = Accelerator(
            mixed_precision=_precision(settings.mixed_precision, backbone),
            log_with=settings.tracker,
            project_dir=settings.output_dir,
            cpu=not torch.accelerator.is_available(),  # else processes of torchrun would look for GPUs
            kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)],
            step_scheduler_with_optimizer=False,
            fsdp_plugin=plugin,
        )
    except (ValueError, ImportError) as error:
        raise UserError(f"accelerate rejects these settings: {str(error).splitlines()[0]}") from error
    if plugin is not None:
        check_sharding(accelerator, settings)
    if accelerator.device.type == "cpu":
        _set_threads(settings.cpu_threads, accelerator.state.num_processes)
    return accelerator


def multiplies_bfloat16() -> bool:
    """Whether the device has units for bfloat16 matrices: NVIDIA GPUs from Ampere on, AMD GPUs, and CPUs with AMX or
    AVX512-BF16, as PyTorch reports them."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if torch.accelerator.is_available():
        return False  # not measured
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))


def _precision(precision: str, backbone: str | None) -> str:
    """no, bf16 or fp16. Features and predictions stay float32 unless a precision is asked for."""
    launched = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")  # no is also what accelerate launch sets by default
    if precision != "auto":
        return precision
    if launched != "no" or backbone is None or not multiplies_bfloat16():
        return launched
    # CPUs take twice as long for depthwise convolutions in bfloat16 as in float32
    return "bf16" if torch.cuda.is_available() or not has_depthwise_convolutions(backbone) else "no"


def end_trackers(accelerator: Accelerator) -> None:
    """Close a job's trackers but, unlike accelerate's `end_training`, not the process group: the next job uses it, too,
    and the command line leaves it at the end."""
    for tracker in accelerator.trackers:
        tracker.finish()


def _set_threads(threads: int | None, processes: int) -> None:
    """Use `threads`, or else the user's OMP_NUM_THREADS, or else this process's share of the cores.

    The defaults do not fit: launchers set OMP_NUM_THREADS to 1 unless the user does, and PyTorch uses all cores of the
    machine, of which a container may have only some.
    """
    if threads is None and not user_has_set("OMP_NUM_THREADS"):
        threads = max(1, available_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", processes)))
    if threads is not None:
        torch.set_num_threads(threads)


def _keep_freed_memory() -> None:
    """Keep large freed blocks for the next step: glibc returns them to the system, and a step on the CPU would spend up
    to a third of its time getting zeroed pages again. Does nothing with other C libraries."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)  # large blocks come from the heap as well
        mallopt(_M_TRIM_THRESHOLD, -1)  # which is never trimmed


def prepare_model(model: nn.Module, accelerator: Accelerator, *, channels_last: bool, compile: bool) -> nn.Module:
    """Prepare a model for training: set the memory format, synchronize BatchNorm, compile.

    On GPUs BatchNorm is synchronized, because the loss contrasts the whole batch over all processes: per-process
    statistics would reveal to the encoder which views were processed together, and the gradient would depend on the
    number of processes. (PyTorch supports this on GPUs only; CPU processes keep their own statistics.)
    """
    if channels_last and not is_sharded(accelerator):  # shards are of contiguous weights
        model = model.to(memory_format=torch.channels_last)
    if accelerator.num_processes > 1 and accelerator.device.type == "cuda":
        model = convert_sync_batchnorm(model)
    if compile:
        model.compile()
    if accelerator.device.type == "cpu":
        _keep_freed_memory()
    return model
