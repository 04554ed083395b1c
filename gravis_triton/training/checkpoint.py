"""Atomic checkpoints from which training continues exactly."""

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from accelerate import Accelerator

from gravis_triton.errors import UserError
from gravis_triton.run_directory import RunDirectory

_KEPT = 2


@dataclass(slots=True)
class Progress:
    """How far a run is. step: optimizer steps. seconds: time spent training in all launches. images: fingerprint of
    the ids of the images that the run trains, validates and tests on."""

    step: int = 0
    seconds: float = 0.0
    processes: int = 1
    steps_per_epoch: int = 0
    images: str = ""


def save_checkpoint(accelerator: Accelerator, directory: Path, progress: Progress) -> Path:
    """Write `directory`/step-N with everything a run needs to go on; called by all processes.

    It is written under another name and renamed when complete, so that a kill or a full disk leaves the earlier
    checkpoints whole; only then are those thinned out to the newest two. Raises UserError when it cannot be written.
    """
    final = directory / f"step-{progress.step:08d}"
    partial = directory / f".partial-{final.name}"
    if accelerator.is_main_process:
        shutil.rmtree(partial, ignore_errors=True)
    accelerator.wait_for_everyone()
    try:
        accelerator.save_state(str(partial))
        if accelerator.is_main_process:
            (partial / "progress.json").write_text(json.dumps(asdict(progress)))
            for file in partial.iterdir():
                _flush_to_disk(file)
    except (OSError, RuntimeError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        kept = latest_checkpoint(directory)
        raise UserError(
            f"cannot write the checkpoint {final}: {' '.join(str(error).split())}; is the disk full? "
            + (f"the newest whole one is {kept}" if kept else "there is no earlier one")
        ) from error
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        shutil.rmtree(final, ignore_errors=True)
        os.replace(partial, final)
        for old in _checkpoints(directory)[:-_KEPT]:
            shutil.rmtree(old)
    accelerator.wait_for_everyone()
    return final


def _flush_to_disk(file: Path) -> None:
    with file.open("rb") as opened:
        os.fsync(opened.fileno())


def _checkpoints(directory: Path) -> list[Path]:
    return sorted(directory.glob("step-*"))


def latest_checkpoint(directory: Path) -> Path | None:
    """The newest whole checkpoint in a `checkpoints` directory."""
    found = _checkpoints(directory)
    return found[-1] if found else None


def find_checkpoint(resume: str | None, run: RunDirectory) -> Path | None:
    """The checkpoint that `--resume` names: None without it, and where "auto" finds none yet.

    Raises UserError when a named one is not there.
    """
    if resume is None:
        return None
    if resume == "auto":
        return latest_checkpoint(run.checkpoints)
    named = Path(resume)
    found = (
        named if named.parent.name == "checkpoints" else latest_checkpoint(RunDirectory.of(named).checkpoints)
    )
    if found is None or not (found / "progress.json").is_file():
        raise UserError(
            f"--resume {resume}: there is no checkpoint; give a run directory or one of its checkpoints"
        )
    return found


def start_progress(
    accelerator: Accelerator,
    *,
    resume: str | None,
    run: RunDirectory,
    steps_per_epoch: int,
    images: str = "",
) -> Progress:
    """Start at step 0, or load model, optimizer and progress from the checkpoint that `--resume` names.

    images: fingerprint of their ids; a checkpoint of a run on other images raises UserError.
    """
    progress = Progress(processes=accelerator.num_processes, steps_per_epoch=steps_per_epoch, images=images)
    checkpoint = find_checkpoint(resume, run)
    return progress if checkpoint is None else load_checkpoint(accelerator, checkpoint, progress)


def load_checkpoint(accelerator: Accelerator, checkpoint: Path, expected: Progress) -> Progress:
    """Load the state of the prepared model, optimizer and scaler.

    Raises UserError when the run was launched so differently (processes, steps per epoch, images) that it would not
    continue exactly, or when the checkpoint does not fit the model.
    """
    progress = Progress(**json.loads((checkpoint / "progress.json").read_text()))
    if progress.images != expected.images:
        raise UserError(
            f"{checkpoint} was written by a run on other images, or on another split of them: resume it with its own "
            "--data, --seed, --split-seed, --val-fraction, --label-fraction and --encoder, or start a new run"
        )
    for name, what in (("processes", "processes"), ("steps_per_epoch", "steps an epoch")):
        then, now = getattr(progress, name), getattr(expected, name)
        if then != now:
            raise UserError(
                f"{checkpoint} was written by a run of {then} {what}, this one has {now}: launch it the same way"
            )
    try:
        accelerator.load_state(str(checkpoint))
    except (RuntimeError, ValueError, OSError, KeyError) as error:
        raise UserError(f"{checkpoint} does not fit this model: {str(error).splitlines()[0]}") from error
    return progress
