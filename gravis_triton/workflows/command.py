"""Pre-train an encoder with a command of another toolkit, for comparison with ours."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import gravis_triton.training as training
from gravis_triton.data import ImageFile, Record, hold_out
from gravis_triton.data.loading.prepare import prepare_images
from gravis_triton.errors import Interrupted, UserError
from gravis_triton.files import write_json, writing
from gravis_triton.models import open_encoder
from gravis_triton.settings import CommandSettings, resolve_command, resolved_split_seed
from gravis_triton.workflows.launch import launch, open_run

_POLL_SECONDS = 0.2
_KILL_SECONDS = 10.0  # for a command to exit after a signal


@dataclass(frozen=True, slots=True)
class CommandResult:
    """directory: run directory. encoder: directory of the encoder in timm's format, as written by pre-training."""

    directory: Path
    encoder: Path


def pretrain_by_command(settings: CommandSettings) -> CommandResult:
    """Run the command on the images that pre-training would use, and export the resulting weights as an encoder.

    The command runs in a shell, in its own directory, with IMAGES (directory of the images), WEIGHTS (file for timm's
    state dict), MODEL, IMAGE_SIZE and SEED set. Raises UserError if it fails or its weights are missing or do not fit,
    and Interrupted if a signal stopped it.
    """
    settings = resolve_command(settings)
    job = launch(settings, name="command")
    accelerator, display, run = job.accelerator, job.display, job.run
    assert settings.image_size is not None  # resolved

    # the images of a pre-training run
    with accelerator.local_main_process_first(), display.task("decoding images") as decoding:
        collection, _ = prepare_images(settings.data, seed=settings.run.seed, progress=decoding)
    training_images, _ = hold_out(
        collection,
        fraction=settings.data.val_fraction,
        seed=resolved_split_seed(settings.data, settings.run.seed),
    )
    records = [collection.records[i] for i in training_images]
    open_run(run, settings, accelerator)

    if accelerator.is_main_process:
        images, weights = (run.command.absolute() / name for name in ("images", "weights.pth"))
        lay_out(records, images)
        display.print(f"running on {len(records):,} images of {collection.name}: {settings.command.strip()}")
        values = {
            "IMAGES": images,
            "WEIGHTS": weights,
            "MODEL": settings.model,
            "IMAGE_SIZE": settings.image_size,
            "SEED": settings.run.seed,
        }
        start = time.perf_counter()
        run_command(settings.command, run.command, {name: str(value) for name, value in values.items()})
        seconds = time.perf_counter() - start
        if not weights.is_file():
            raise UserError(f"the command did not write its weights to $WEIGHTS ({weights})")
        opened = open_encoder(
            str(weights),
            model=settings.model,
            image_size=settings.image_size,
            default_size=settings.image_size,
        )
        display.print(opened.loaded)
        ids = [record.id for record in records]
        training.export_encoder(opened.encoder, run.encoder, image_size=settings.image_size, image_ids=ids)
        shutil.rmtree(images)
        write_json(run.summary, {"images": len(records), "seconds": seconds})
    accelerator.wait_for_everyone()
    training.end_trackers(accelerator)
    return CommandResult(run.path, run.encoder)


def lay_out(records: Iterable[Record], directory: Path) -> None:
    """Fill a directory with the images, named by id: symlinks to image files, or else PNG files."""
    with writing(directory):
        for record in records:
            image = record.image
            file = directory / f"{record.id}{image.path.suffix if isinstance(image, ImageFile) else '.png'}"
            file.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(image, ImageFile):
                file.symlink_to(image.path.resolve())
            else:
                image.read().save(file)


def run_command(command: str, directory: Path, variables: Mapping[str, str]) -> None:
    """Run a shell command in a directory, with its output in log.txt there. It is stopped with this process.

    Raises UserError with the last line of its output if it fails, and Interrupted if a signal stopped it.
    """
    log = directory / "log.txt"
    with log.open("w") as output, training.stop_on_signals() as stop:
        process = subprocess.Popen(
            command,
            shell=True,
            cwd=directory,
            env={**os.environ, **variables},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that everything it starts can be killed with it
        )
        try:
            while process.poll() is None and not stop:
                time.sleep(_POLL_SECONDS)
        finally:
            _end(process)
    if stop:
        raise Interrupted("the command was stopped; it will start over", stop.number)
    if process.returncode:
        last = (log.read_text(errors="replace").strip().splitlines() or ["no output"])[-1]
        raise UserError(f"the command failed with status {process.returncode}: {last} (full output: {log})")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Terminate a process and everything it started in its session."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(_KILL_SECONDS)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue
