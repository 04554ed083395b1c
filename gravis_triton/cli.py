"""The command line: `gravis JOB [flags]`, also `python -m gravis_triton` and `accelerate launch -m gravis_triton`."""

import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module, metadata
from types import FrameType
from typing import Any

import gravis_triton.settings.jobs as jobs
from gravis_triton.errors import LOST_PROCESS, Interrupted, UserError, did_you_mean, is_lost_process
from gravis_triton.process import check_launch, die_with_launcher, limit_openmp_spin
from gravis_triton.run_directory import release_locks
from gravis_triton.settings.flags import read_flags
from gravis_triton.settings.resolve import Kind, resolve


@dataclass(frozen=True, slots=True)
class Job:
    """A workflow, `module.function` in gravis_triton.workflows, and the type of its settings."""

    workflow: str
    settings: type[Any]

    def load(self) -> Callable[[Any], Any]:
        """The workflow; imports torch."""
        module, function = self.workflow.split(".")
        return getattr(import_module(f"gravis_triton.workflows.{module}"), function)

    def run(self, settings: Any) -> Any:
        """The result of the workflow."""
        try:
            return self.load()(settings)
        finally:
            release_locks()

    @property
    def kind(self) -> Kind[Any]:
        """The type of the settings, or for pre-training the function that adds those of the method."""
        if self.settings is not jobs.PretrainSettings:
            return self.settings
        from gravis_triton.methods import pretrain_settings

        return pretrain_settings


JOBS = {
    "check": Job("check.check", jobs.CheckSettings),
    "shards": Job("shards.shards", jobs.ShardsSettings),
    "cache": Job("cache.list_cache", jobs.CacheSettings),
    "pretrain": Job("pretrain.pretrain", jobs.PretrainSettings),
    "finetune-classification": Job("finetune.finetune_classification", jobs.ClassificationSettings),
    "finetune-segmentation": Job("finetune.finetune_segmentation", jobs.SegmentationSettings),
    "evaluate": Job("evaluate.evaluate", jobs.EvaluateSettings),
    "embed": Job("embed.embed", jobs.EmbedSettings),
    "predict": Job("predict.predict", jobs.PredictSettings),
    "export": Job("export.export", jobs.ExportSettings),
    "push": Job("push.push", jobs.PushSettings),
    "report": Job("runs.write_report", jobs.ReportSettings),
    "runs": Job("runs.list_runs", jobs.RunsSettings),
    "compare": Job("compare.compare", jobs.CompareSettings),
}


def main(args: Sequence[str] | None = None) -> None:
    """Run the job that the first argument names, and exit with its status."""
    name, *rest = (sys.argv[1:] if args is None else args) or ["--help"]
    if name in ("-h", "--help"):
        print(_usage())
    elif name == "--version":
        print(metadata.version("gravis-triton"))
    else:
        run_job(name, rest, prog=f"gravis {name}")
    sys.exit(0)


def run_job(name: str, args: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Run a job with flags (default: those of this process), and exit with its status.

    0: finished. 1: images were skipped, or a check found faults. 2: a UserError, printed as one line on stderr.
    128 + signal: a signal stopped it.
    """
    die_with_launcher()
    limit_openmp_spin()
    interrupts = _noted_interrupts()
    try:
        check_launch()
        if name not in JOBS:
            raise UserError(f"unknown job {name!r}{did_you_mean(name, JOBS)}; gravis --help lists the jobs")
        job = JOBS[name]
        settings = resolve(job.kind, read_flags(job.kind, args, prog))  # before torch is imported
        result = job.run(settings)
        status = int(any(getattr(result, name, ()) for name in ("skipped", "faults")))
        distributed = sys.modules.get("torch.distributed")  # a job that never imported it has no process group
        if distributed is not None and distributed.is_initialized():
            distributed.destroy_process_group()
    except UserError as error:
        rank = os.environ.get("RANK", "0")
        message = str(error).rsplit("UserError: ", 1)[-1].strip()  # without the traceback of a worker process
        print(f"error: {message}" if rank == "0" else f"error in process {rank}: {message}", file=sys.stderr)
        status = 2
    except Interrupted as error:
        print(error)
        status = 128 + error.signal
    except (KeyboardInterrupt, Exception) as error:
        if interrupts or isinstance(error, KeyboardInterrupt):
            print("interrupted", file=sys.stderr)  # C code may have turned Ctrl-C into another error
            status = 130
        elif is_lost_process(error):
            print(f"error: {LOST_PROCESS}", file=sys.stderr)
            status = 2
        else:
            raise
    sys.stdout.flush()
    sys.exit(status)


def _noted_interrupts() -> list[int]:
    """A list to which each Ctrl-C is added before it becomes a KeyboardInterrupt."""
    noted: list[int] = []

    def interrupt(number: int, _frame: FrameType | None) -> None:
        noted.append(number)
        raise KeyboardInterrupt

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)
    return noted


def _usage() -> str:
    width = max(map(len, JOBS))
    lines = [f"  {name:{width}}  {(job.settings.__doc__ or '').splitlines()[0]}" for name, job in JOBS.items()]
    return f"""usage: gravis JOB [flags]

Self-supervised pre-training on dermatology images with GraVIS, fine-tuning and evaluation.

jobs:
{chr(10).join(lines)}

gravis JOB --help lists the flags of a job.
On several GPUs: accelerate launch -m gravis_triton JOB [flags]"""
