"""Metrics of a run as JSON lines, and experiment trackers: TensorBoard, Weights & Biases, MLflow and others."""

import json
import os
from collections.abc import Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator
from PIL import Image

from gravis_triton.files import atomic_write, finite_or_none, read_metrics, writing
from gravis_triton.run_directory import RunDirectory

_PROJECT = "gravis-triton"


class MetricLogger:
    """Writes metrics.jsonl, one JSON object per line with the `step` it was measured at, and logs to the trackers.

    When opened at `step`, it drops later lines of an earlier launch, since they are measured again. All processes may
    log; the main one writes. Logging the same names at the same step again replaces the line. NaN and infinities
    become null.
    """

    def __init__(self, path: Path, step: int, accelerator: Accelerator) -> None:
        self.path, self.accelerator = path, accelerator
        self.lines = [line for line in read_metrics(path) if line["step"] <= step] if step else []
        if accelerator.is_main_process:
            self._write_all()

    def log(self, values: Mapping[str, Any]) -> None:
        line = finite_or_none(dict(values))
        latest = takewhile(lambda old: old["step"] >= line["step"], reversed(self.lines))
        again = [old for old in latest if old["step"] == line["step"] and old.keys() == line.keys()]
        if again:
            self.lines = [old for old in self.lines if old not in again]
        self.lines.append(line)
        if self.accelerator.is_main_process and again:
            self._write_all()
        elif self.accelerator.is_main_process:
            with writing(self.path), self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        known = {name: value for name, value in line.items() if value is not None and name != "step"}
        self.accelerator.log(known, step=line["step"])

    def has(self, name: str, step: int) -> bool:
        """Whether a value has been logged under a name at a step."""
        return any(line["step"] == step and name in line for line in self.lines)

    def _write_all(self) -> None:
        atomic_write(self.path, "".join(f"{json.dumps(line)}\n" for line in self.lines))

    def at(self, step: int, name: str) -> Any:
        """The value logged under a name at a step, or None."""
        return next((line[name] for line in self.lines if line["step"] == step and name in line), None)

    def last(self, name: str) -> Any:
        """The latest value logged under a name, or None."""
        return next((line[name] for line in reversed(self.lines) if name in line), None)


def start_tracker(accelerator: Accelerator, tracker: str, run: RunDirectory, config: Mapping[str, Any]) -> None:
    """Start a tracker for a run, named after the run's directory, that writes into it."""
    name, directory = run.path.name, str(run.path.resolve())
    mlruns = (run.path.resolve() / "mlruns").as_uri()
    if tracker == "mlflow" and accelerator.is_main_process and "MLFLOW_TRACKING_URI" not in os.environ:
        import mlflow  # type: ignore[import-not-found,unused-ignore]  # optional

        mlflow.set_tracking_uri(f"sqlite:///{directory}/mlflow.db")
    settings = {"wandb": {"name": name, "dir": directory}, "mlflow": {"run_name": name, "logging_dir": mlruns}}
    accelerator.project_configuration.set_directories(directory)
    accelerator.init_trackers(_PROJECT, config=dict(config), init_kwargs={tracker: settings.get(tracker, {})})


def log_images(accelerator: Accelerator, run: RunDirectory, step: int) -> None:
    """Log the figures that a run has written so far to its tracker, if any."""
    for tracker in accelerator.trackers:
        for file in sorted(run.path.glob("*.png")):
            pixels = np.asarray(Image.open(file).convert("RGB"))
            if tracker.name == "tensorboard":
                tracker.log_images({file.stem: pixels[None]}, step=step, dataformats="NHWC")
            elif tracker.name == "mlflow":
                tracker.log_artifact(str(file))
            elif hasattr(tracker, "log_images"):
                tracker.log_images({file.stem: [pixels]}, step=step)
