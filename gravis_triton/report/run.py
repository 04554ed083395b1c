"""The directory of a run: what goes where, and when it may be used."""

import dataclasses
import json
import math
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from gravis_triton.errors import UserError
from gravis_triton.files import write_whole
from gravis_triton.settings import RunSettings, TrainingSettings, run_directory, write_settings


def choose_run(settings: RunSettings, accelerator: Accelerator, *, name: str) -> Path:
    """Where a run writes, the same for all processes: --output-dir, the run that --resume names, or
    runs/<date>-<time>-<name>. Nothing is created yet, so that a run that fails before it starts leaves nothing.

    Raises UserError when the directory holds files and the settings neither resume nor overwrite it, when they do both,
    and when overwrite would empty a directory that is not a run's.
    """
    resume = settings.resume if isinstance(settings, TrainingSettings) else None
    if settings.overwrite and resume is not None:
        raise UserError("--overwrite would delete what --resume goes on from: drop one of them")
    run = Path(broadcast_object_list([str(_named_or_new(settings.output_dir, resume, name))])[0])
    if run.exists() and not run.is_dir():
        raise UserError(f"--output-dir {run} is a file")
    if run.is_dir() and any(run.iterdir()) and resume is None:
        if not settings.overwrite:
            go_on = "--resume auto to go on, " if isinstance(settings, TrainingSettings) else ""
            raise UserError(f"{run} is not empty: give {go_on}--overwrite, or another --output-dir")
        if not (run / "config.yaml").is_file():
            raise UserError(f"--overwrite: {run} holds files but no run (no config.yaml); empty it yourself")
    return run


def _named_or_new(output_dir: str | None, resume: str | None, name: str) -> Path:
    if output_dir is not None:
        return Path(output_dir)
    if resume == "auto":
        raise UserError(
            "--resume auto needs --output-dir: the run directory whose newest checkpoint to go on from"
        )
    if resume is not None:
        return run_directory(Path(resume))
    return Path("runs") / f"{time.strftime('%Y%m%d-%H%M%S')}-{name.replace('/', '_')}"


def open_run(run: Path, settings: RunSettings, accelerator: Accelerator) -> None:
    """Create the chosen directory, emptied if the settings say so, with config.yaml in it; start the trackers."""
    if accelerator.is_main_process:
        try:
            if settings.overwrite and run.is_dir():
                shutil.rmtree(run)
            run.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot write to {run}: {error.strerror}") from error
        saved = dataclasses.replace(settings, output_dir=None, overwrite=False, config=None)
        if isinstance(saved, TrainingSettings):
            saved = dataclasses.replace(saved, resume=None)
        write_settings(saved, run / "config.yaml")
    accelerator.wait_for_everyone()
    if settings.tracker is not None:
        accelerator.project_configuration.set_directories(str(run))
        accelerator.init_trackers("gravis-triton", config=dataclasses.asdict(settings))


class Journal:
    """metrics.jsonl, one JSON object a line with the `step` it was measured at, and the trackers beside it.

    Made at `step`, it forgets what an earlier launch measured later than that: it will be measured again.
    All processes may append; the first one writes. What is not a number is null.
    """

    def __init__(self, run: Path, step: int, accelerator: Accelerator) -> None:
        self.path, self.accelerator = run / "metrics.jsonl", accelerator
        self.lines = [line for line in _read_lines(self.path) if line["step"] <= step] if step else []
        if accelerator.is_main_process:
            write_whole(self.path, "".join(f"{json.dumps(line)}\n" for line in self.lines))

    def append(self, values: Mapping[str, Any]) -> None:
        line = {name: finite_or_none(value) for name, value in values.items()}
        self.lines.append(line)
        if self.accelerator.is_main_process:
            with self.path.open("a") as file:
                file.write(json.dumps(line) + "\n")
        known = {name: value for name, value in line.items() if value is not None and name != "step"}
        self.accelerator.log(known, step=line["step"])

    def first(self, name: str) -> Any:
        """The first value under a name, None if there is none."""
        return next((line[name] for line in self.lines if name in line), None)

    def last(self, name: str) -> Any:
        """The last value under a name, None if there is none."""
        return next((line[name] for line in reversed(self.lines) if name in line), None)


def _read_lines(path: Path) -> list[dict[str, Any]]:
    """All lines of an earlier launch; a last one that a kill cut short is left out."""
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]] if path.exists() else []


def finite_or_none(value: Any) -> Any:
    """JSON has no NaN."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
