"""What jobs share: processes, display, output directory, the initial encoder, and the epochs of training."""

import dataclasses
import signal
import time
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from gravis_triton.errors import Interrupted, UserError
from gravis_triton.files import writing
from gravis_triton.models import OpenedEncoder, find_architecture, open_encoder
from gravis_triton.report.console import device_name
from gravis_triton.report.display import Display
from gravis_triton.report.metric_logger import MetricLogger, start_tracker
from gravis_triton.run_directory import RunDirectory
from gravis_triton.run_summary import job_of
from gravis_triton.settings.config import changed_settings, read_yaml, write_settings
from gravis_triton.settings.defaults import chosen_model, default_image_size
from gravis_triton.training.engine import Metrics, Training, seed_step, train_epoch
from gravis_triton.training.interrupt import stop_on_signals
from gravis_triton.training.setup import start_accelerator

_PRECISIONS = {"no": "float32", "bf16": "bfloat16", "fp16": "float16", "fp8": "float8"}


@dataclasses.dataclass(frozen=True, slots=True)
class JobContext:
    """The processes of a job, its output, and its start time (time.perf_counter)."""

    accelerator: Accelerator
    display: Display
    run: RunDirectory
    start: float

    def seconds(self) -> float:
        return time.perf_counter() - self.start


def setup_job(settings: Any, *, name: str) -> JobContext:
    """Join the processes and choose the output directory of a job; nothing is written yet.

    name: of the directory, if the settings do not set one. Raises UserError as `choose_run_dir` and, before
    training, `find_architecture` do.
    """
    start = time.perf_counter()
    trains = hasattr(settings, "resume")
    is_open = trains and settings.mixed_precision == "auto"  # the precision then depends on the network
    backbone = find_architecture(settings.encoder, chosen_model(settings)) if is_open else None
    accelerator = start_accelerator(settings, backbone=backbone)
    run = choose_run_dir(settings, accelerator, name=name)
    display = Display(accelerator.is_main_process)
    if trains:
        precision = _PRECISIONS[accelerator.mixed_precision]
        display.print(f"device: {device_name(accelerator.device)}, precision {precision}")
    return JobContext(accelerator, display, run, start)


def choose_run_dir(settings: Any, accelerator: Accelerator, *, name: str) -> RunDirectory:
    """The directory of a run, the same in all processes: --output-dir, the run to resume, or runs/DATE-TIME-NAME.

    Raises UserError if it contains files and the settings neither resume nor overwrite it, if they do both, or resume
    a missing or different run, and as `check_overwrite` does.
    """
    resume: str | None = getattr(settings, "resume", None)
    if settings.overwrite and resume is not None:
        raise UserError("--overwrite would delete the run that --resume needs: drop one of them")
    if resume not in (None, "auto") and not Path(resume).exists():
        raise UserError(f"--resume {resume}: there is no such run or checkpoint")
    if settings.output_dir is not None:
        path = Path(settings.output_dir)
    elif resume == "auto":
        raise UserError("--resume auto needs --output-dir: the run directory whose newest checkpoint it resumes")
    elif resume is not None:
        path = RunDirectory.of(resume).path
    else:
        path = Path("runs") / f"{time.strftime('%Y%m%d-%H%M%S')}-{name.replace('/', '_')}"
    path = Path(broadcast_object_list([str(path)])[0])
    run = RunDirectory(path)
    if path.exists() and not path.is_dir():
        raise UserError(f"--output-dir {run} is a file")
    if path.is_dir() and any(path.iterdir()) and resume is None:
        if not settings.overwrite:
            hint = "--resume auto to resume, " if hasattr(settings, "resume") else ""
            raise UserError(f"{run} is not empty: use {hint}--overwrite, or another --output-dir")
        check_overwrite(run, settings)
    if resume not in (None, "auto") and run.config.exists():
        resumed = RunDirectory.of(resume)
        if resumed.path.resolve() != path.resolve():
            raise UserError(f"{run} contains a different run from --resume ({resumed}): use another --output-dir")
    return run


def check_overwrite(run: RunDirectory, settings: Any) -> None:
    """Raise UserError if a directory contains anything but a run, or if deleting it could delete more than that: it is
    or contains the data or the encoder, or the current or the home directory."""
    used = {"data": settings.data, "encoder": settings.encoder, "current directory": ".", "home directory": Path.home()}
    for what, path in used.items():
        if Path(path).exists() and Path(path).resolve().is_relative_to(run.path.resolve()):
            raise UserError(f"--overwrite: {run} is or contains the {what}; choose another --output-dir")
    job = None
    with suppress(UserError):
        job = job_of(read_yaml(run.config))
    if job is None:
        raise UserError(f"--overwrite: {run} contains files but no run (no config.yaml of one); empty it yourself")
    if foreign := run.foreign_files():
        raise UserError(
            f"--overwrite: {run} also contains {', '.join(foreign[:3])}, not written by a run; "
            "move it away, or choose another --output-dir"
        )


def open_initial_encoder(settings: Any, display: Display, *, seed: int = 0) -> OpenedEncoder:
    """The encoder that the settings name, with the same weights in every process and job, and print its origin.

    Raises UserError as `open_encoder` does.
    """
    seed_step(seed, 0, 0)
    size, default = settings.image_size, default_image_size(settings.data)
    opened = open_encoder(settings.encoder, model=chosen_model(settings), image_size=size, default_size=default)
    display.print(opened.loaded)
    return opened


def create_run_dir(run: RunDirectory, settings: Any, accelerator: Accelerator, *, finished: bool = False) -> None:
    """Create the directory, or empty it if the settings say so; write config.yaml and start the trackers.

    finished: a resumed run has nothing left to train, and its config.yaml stays.
    Raises UserError if another run is writing to it or has just done so, and if it cannot be written to.
    """
    if accelerator.is_main_process:
        run.acquire_lock()
        if settings.overwrite:
            with writing(run.path):
                run.clear()
        elif run.config.exists() and getattr(settings, "resume", None) is None:
            raise UserError(f"another run has just written to {run}: choose another --output-dir")
        resumed = run.config.exists()
        if resumed and (changed := changed_settings(settings, read_yaml(run.config))):
            what = "these settings change nothing any more" if finished else "resuming with changed settings"
            shown = [f"{name}: {before} -> {now}" for name, (before, now) in changed.items()]
            Display(True).print(f"{what}: {', '.join(shown)}")
        once: dict[str, Any] = {"output_dir": None, "overwrite": False, "config": None}
        once |= {"resume": None} if hasattr(settings, "resume") else {}
        if not (resumed and finished):
            write_settings(dataclasses.replace(settings, **once), run.config)
    accelerator.wait_for_everyone()
    if settings.tracker is not None:
        start_tracker(accelerator, settings.tracker, run, vars(settings))


def train_epochs(
    job: JobContext, training: Training, metric_logger: MetricLogger, *, views: int = 1
) -> Generator[bool]:
    """Train to `training.last_step`, with display and metrics; yields after each epoch, and when a signal stops it,
    whether training ends here. Close it if that is not reached, by `contextlib.closing`.

    views: of an image. Raises Interrupted at the end if a signal stopped it; its checkpoint should be written by then.
    """
    state, stopped = training.state, False
    with job.display.training(state.step, training.last_step) as show, stop_on_signals() as stop:

        def on_metrics(metrics: Metrics) -> None:
            if views > 1:
                metrics["views_per_second"] = metrics["images_per_second"] * views
            show(metrics)
            metric_logger.log(metrics)

        while state.step < training.last_step and not stopped:
            stopped = train_epoch(training, stop, on_metrics)
            yield stopped or state.step == training.last_step
    if stopped and state.step < training.last_step:
        raise Interrupted(
            f"stopped after step {state.step:,}; resume with --resume {job.run}", stop.number or signal.SIGTERM
        )
