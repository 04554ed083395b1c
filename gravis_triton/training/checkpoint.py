"""Atomic checkpoints with checksums, for exact resumption, and the exported encoder; loading them executes no code."""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from accelerate import Accelerator
from safetensors import SafetensorError
from torch import nn
from torch.optim import Optimizer

from gravis_triton.errors import UserError, is_lost_process
from gravis_triton.files import atomic_directory, find_damage, free_space, write_checksums, writing
from gravis_triton.models import save_encoder
from gravis_triton.run_directory import RunDirectory

_KEPT = 2
_STATE = "progress.json"
_ASIDE = "superseded-"
_SETTINGS = ("weight_decay", "momentum", "betas", "lr_scale")  # from this launch, not the checkpoint


@dataclass(slots=True)
class TrainState:
    """How far a run has come. step: optimizer steps. seconds: training time over all launches. fingerprint: of the ids
    of its training, validation and test images. bad_steps: skipped because of a non-finite gradient; bad_in_a_row: the
    most recent consecutive ones.
    """

    step: int = 0
    seconds: float = 0.0
    processes: int = 1
    steps_per_epoch: int = 0
    fingerprint: str = ""
    bad_steps: int = 0
    bad_in_a_row: int = 0

    @property
    def epoch(self) -> int:
        """Complete epochs."""
        return self.step // self.steps_per_epoch

    @property
    def ends_epoch(self) -> bool:
        return self.step % self.steps_per_epoch == 0

    def count_step(self, skipped: bool) -> None:
        self.step += 1
        self.bad_steps += skipped
        self.bad_in_a_row = self.bad_in_a_row + 1 if skipped else 0


def save_checkpoint(
    accelerator: Accelerator, directory: Path, state: TrainState, states: Mapping[str, Any] | None = None
) -> None:
    """Write `directory`/step-N with everything needed to resume a run; call it in all processes.

    states: other objects by name, besides the prepared model and optimizer, with a `load_state_dict` and a `state_dict`
    of tensors and plain values (dicts, lists, tuples, strings, numbers). The checkpoint is written under a temporary
    name and renamed when complete, so that a killed process or a full disk leaves earlier ones intact; only then are
    all but the newest two deleted. Raises UserError if it cannot be written.
    """
    final = directory / f"step-{state.step:08d}"
    partial = directory / f".partial-{final.name}"
    if accelerator.is_main_process:
        shutil.rmtree(partial, ignore_errors=True)
    accelerator.wait_for_everyone()
    try:
        accelerator.save_state(str(partial))
        saved = {name: stateful.state_dict() for name, stateful in (states or {}).items()}
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            for name, values in saved.items():
                torch.save(values, partial / f"{name}.pt")
            (partial / _STATE).write_text(json.dumps(asdict(state)))
            write_checksums(partial)
            for file in partial.iterdir():
                with file.open("r+b") as opened:  # Windows flushes only what is open for writing
                    os.fsync(opened.fileno())
    except (OSError, RuntimeError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        if is_lost_process(error):
            raise
        kept = _checkpoints(directory)
        hint = f"the newest complete checkpoint is {kept[-1]}" if kept else "there is no earlier checkpoint"
        raise UserError(
            f"cannot write the checkpoint {final}: {' '.join(str(error).split())}; {free_space(directory)}; {hint}"
        ) from error
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        shutil.rmtree(final, ignore_errors=True)
        os.replace(partial, final)
        for old in _checkpoints(directory)[:-_KEPT]:
            shutil.rmtree(old)
    accelerator.wait_for_everyone()


def _find_checkpoint(accelerator: Accelerator, resume: str | None, run: RunDirectory) -> Path | None:
    """The checkpoint that `--resume` names: None without the flag, or if "auto" finds none yet.

    For a run, this is its newest intact one; prints a warning for each newer, damaged one. Raises UserError if a named
    one is missing or damaged, or if a run has only damaged ones.
    """
    if resume is None:
        return None
    named = Path(resume)
    if resume != "auto" and named.parent.name == "checkpoints" and named.is_dir():
        if damage := find_damage(named):
            raise UserError(f"--resume {resume}: {damage}; use --resume {named.parents[1]} for the newest intact one")
        return named
    checkpoints = _checkpoints((run if resume == "auto" else RunDirectory.of(named)).checkpoints)
    if not checkpoints and resume == "auto":
        return None
    if not checkpoints:
        raise UserError(f"--resume {resume}: there is no checkpoint; use a run directory or one of its checkpoints")
    for checkpoint in reversed(checkpoints):
        damage = find_damage(checkpoint)
        if damage is None:
            return checkpoint
        accelerator.print(f"warning: {checkpoint} cannot be used: {damage}")
    raise UserError(f"--resume {resume}: none of its checkpoints can be used ({damage}); start a new run")


def start_or_resume(
    accelerator: Accelerator,
    run: RunDirectory,
    resume: str | None,
    start: TrainState,
    *,
    optimizer: Optimizer | None = None,
    states: Mapping[str, Any] | None = None,
) -> TrainState:
    """`start`, or what the checkpoint that `--resume` names contains: progress, and the loaded states of the prepared
    model, optimizer and scaler, and of `states`.

    optimizer: the prepared one; its settings, such as weight decay, stay those of this launch. Checkpoints of the run
    that are newer than the loaded one are set aside.
    Raises UserError if this launch differs from that of the checkpoint (in processes, steps per epoch or images), so
    that training could not continue exactly, or if the checkpoint does not fit the model.
    """
    checkpoint = _find_checkpoint(accelerator, resume, run)
    if checkpoint is None:
        return start
    if accelerator.is_main_process and run.path.is_dir():
        run.acquire_lock()
    state = _read_state(checkpoint, start)
    groups = [dict(group) for group in optimizer.param_groups] if optimizer else []
    try:
        accelerator.load_state(str(checkpoint))  # reads tensors and plain values only
        for name, stateful in (states or {}).items():
            stateful.load_state_dict(torch.load(checkpoint / f"{name}.pt", map_location="cpu", weights_only=True))
    except Exception as error:  # the unpickler may raise anything
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise UserError(f"{checkpoint} does not fit this model: {reason}") from error
    for configured, group in zip(groups, optimizer.param_groups if optimizer else [], strict=True):
        if not configured.keys() <= group.keys():
            raise UserError(f"{checkpoint} was written with a different optimizer: resume with its original --opt")
        group.update((name, configured[name]) for name in _SETTINGS if name in configured)
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        for newer in _checkpoints(run.checkpoints):
            if newer.name > checkpoint.name.removeprefix(_ASIDE):
                aside = _set_aside(newer)
                print(f"resuming from step {state.step}: {newer} renamed to {aside.name}")
    accelerator.wait_for_everyone()
    return state


def _read_state(checkpoint: Path, start: TrainState) -> TrainState:
    """The progress in a checkpoint. Raises UserError if it is not that of a launch like this one, which begins at
    `start`."""
    try:
        state = TrainState(**json.loads((checkpoint / _STATE).read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{checkpoint}: {_STATE} cannot be read") from error
    if state.fingerprint != start.fingerprint:
        raise UserError(
            f"{checkpoint} was written by a run on different images or a different split: resume with its original "
            "--data, --seed, --split-seed, --val-fraction, --label-fraction, --shuffle-buffer and --encoder, or start "
            "a new run"
        )
    for name in ("processes", "steps_per_epoch"):
        then, now = getattr(state, name), getattr(start, name)
        if then != now:
            raise UserError(
                f"{checkpoint} was written by a run with {then} {name.replace('_', ' ')}, this one has {now}: "
                "launch it the same way"
            )
    return state


def _set_aside(checkpoint: Path) -> Path:
    """Rename a checkpoint so that runs ignore it; earlier ones of the same name are kept."""
    names = (f"{_ASIDE}{checkpoint.name}{suffix}" for suffix in chain([""], (f"-{n}" for n in count(2))))
    aside = next(path for name in names if not (path := checkpoint.with_name(name)).exists())
    return checkpoint.rename(aside)


def _checkpoints(directory: Path) -> list[Path]:
    return sorted(directory.glob("step-*"))


def export_encoder(encoder: nn.Module, directory: Path, *, image_size: int, image_ids: Sequence[str]) -> None:
    """Write the encoder in timm's Hugging Face format, along with the ids of the images it was trained on.

    The directory is written atomically. `image_ids.json` lets an evaluation detect test images that the encoder was
    trained on.
    """
    with atomic_directory(directory) as partial:
        save_encoder(encoder, partial, image_size=image_size)
        write_checksums(partial)
        (partial / "image_ids.json").write_text(json.dumps(list(image_ids)))


def check_export(encoder: nn.Module, *, image_size: int) -> None:
    """Export to a temporary directory, so that a run that cannot save its result fails before training."""
    with TemporaryDirectory() as directory, writing(Path(directory) / "model.safetensors"):
        save_encoder(encoder, Path(directory), image_size=image_size)
