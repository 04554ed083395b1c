"""Experiment trackers: TensorBoard, Weights & Biases, MLflow and others that accelerate supports."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from accelerate import Accelerator
from PIL import Image

from gravis_triton.run_directory import RunDirectory

_PROJECT = "gravis-triton"


def start_tracker(
    accelerator: Accelerator, tracker: str, run: RunDirectory, config: Mapping[str, Any]
) -> None:
    """Start a tracker for a run, named after the run's directory, that writes into it."""
    name, directory = run.path.name, str(run.path.resolve())
    mlruns = (run.path.resolve() / "mlruns").as_uri()
    if tracker == "mlflow" and accelerator.is_main_process and "MLFLOW_TRACKING_URI" not in os.environ:
        import mlflow  # type: ignore[import-not-found,unused-ignore]  # optional

        mlflow.set_tracking_uri(f"sqlite:///{directory}/mlflow.db")
    settings = {
        "wandb": {"name": name, "dir": directory},
        "mlflow": {"run_name": name, "logging_dir": mlruns},
    }
    accelerator.project_configuration.set_directories(directory)
    accelerator.init_trackers(_PROJECT, config=dict(config), init_kwargs={tracker: settings.get(tracker, {})})


def log_pictures(accelerator: Accelerator, run: RunDirectory, step: int) -> None:
    """Log the images that a run has written so far to its tracker, if any."""
    for tracker in accelerator.trackers:
        for file in sorted(run.path.glob("*.png")):
            pixels = np.asarray(Image.open(file).convert("RGB"))
            if tracker.name == "tensorboard":
                tracker.log_images({file.stem: pixels[None]}, step=step, dataformats="NHWC")
            elif tracker.name == "mlflow":
                tracker.log_artifact(str(file))
            elif hasattr(tracker, "log_images"):
                tracker.log_images({file.stem: [pixels]}, step=step)
