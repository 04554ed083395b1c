"""Console output of the jobs about data, steps, scores and files, and what their summaries contain."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import torch

from gravis_triton.report.display import Display
from gravis_triton.report.metric_logger import MetricLogger
from gravis_triton.run_directory import RunDirectory
from gravis_triton.run_summary import shown, shown_number
from gravis_triton.training.engine import Training

_MAX_NAMED = 5  # images


def print_data(display: Display, description: str, notes: Sequence[str], skipped: Sequence[tuple[str, str]]) -> None:
    """Print what the data are, how they were read, and the first few of the unreadable images, (id, reason), if any."""
    display.print(f"data: {description}")
    for line in notes:
        display.print(f"  {line}")
    print_skipped(display, skipped)


def print_skipped(display: Display, skipped: Sequence[tuple[str, str]]) -> None:
    """Print the first few of the unreadable images, (id, reason), if any."""
    if skipped:
        named = first_few([f"{name} ({reason})" for name, reason in skipped], "; ")
        display.print(f"skipped: {len(skipped)} unreadable images: {named}")


def first_few(texts: Sequence[str], separator: str = ", ") -> str:
    """The first five texts, and how many more there are."""
    more = [f"and {len(texts) - _MAX_NAMED:,} more"] if len(texts) > _MAX_NAMED else []
    return separator.join([*texts[:_MAX_NAMED], *more])


def print_step(display: Display, training: Training, *, views: int = 1, image_size: int | None = None) -> None:
    """Print the size of a step and the number of steps. image_size: of the views in pixels."""
    batches, processes = training.batches, training.accelerator.num_processes
    size = f"{processes} process{'es' if processes > 1 else ''}"
    if views > 1:
        size = f"{views} views x {size} = {batches.batch_size * views * processes:,} views of {image_size} px"
    epochs = training.steps / len(batches)
    display.print(
        f"step: {batches.batch_size} images x {size}; {len(batches):,} steps per epoch, {round(epochs, 1):g} epochs"
    )


def log_scores(
    scores: Mapping[str, float], label: str, metric_logger: MetricLogger, step: int, display: Display, *, prefix: str
) -> None:
    """Log the scores on the validation set at a step, their names with a prefix, and print them after a label."""
    metric_logger.log({"step": step, **{f"{prefix}_{name}": value for name, value in scores.items()}})
    display.print(f"{label}: {format_scores(scores)}")


def format_scores(scores: Mapping[str, float]) -> str:
    """All scores by name on one line."""
    return ", ".join(f"{shown(name)} {value:.3f}" for name, value in scores.items())


def describe_environment(device: torch.device) -> dict[str, Any]:
    """The device and the versions of Python and the main libraries, for a summary."""
    libraries = {name: version(name) for name in ("torch", "timm", "kornia")}
    return {"device": device_name(device), "versions": {"python": platform.python_version(), **libraries}}


def device_name(device: torch.device) -> str:
    """Name of the training device."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({torch.get_num_threads()} threads)"


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainSummary:
    """Contents of summary.json. Scores are null without labels.

    knn_all: of the pre-trained encoder on all images, if the other scores are from a sample.
    loss: mean over the steps of the last logged metrics, or null if these were lost. views_per_second: of all
    processes, during training. seconds: duration of the last launch.
    """

    loss: float | None
    knn_balanced_accuracy: float | None
    knn_balanced_accuracy_untrained: float | None
    knn_mean_auc: float | None
    knn_mean_auc_untrained: float | None
    knn_all_balanced_accuracy: float | None
    knn_all_mean_auc: float | None
    views_per_second: float
    seconds: float
    steps: int
    training_images: int
    validation_images: int
    skipped: int
    processes: int
    device: str
    versions: dict[str, str]


def summarize(metric_logger: MetricLogger, training: Training, views: int, **sizes: Any) -> PretrainSummary:
    """The summary of a pre-training run from its metrics. sizes: seconds of this launch, validation_images, skipped."""
    last = ("loss", "knn_balanced_accuracy", "knn_mean_auc", "knn_all_balanced_accuracy", "knn_all_mean_auc")
    untrained = ("knn_balanced_accuracy", "knn_mean_auc")
    state = training.state
    num_views = state.step * training.batches.batch_size * state.processes * views
    return PretrainSummary(
        **{name: metric_logger.last(name) for name in last},
        **{f"{name}_untrained": metric_logger.at(0, name) for name in untrained},
        views_per_second=num_views / state.seconds,
        steps=state.step,
        training_images=training.batches.images,
        processes=state.processes,
        **describe_environment(training.accelerator.device),
        **sizes,
    )


def print_summary(display: Display, summary: PretrainSummary, run: RunDirectory) -> None:
    """Print speed, loss and scores of a pre-training run, and the paths of its files."""
    display.print(
        f"done: {summary.steps:,} steps in {summary.seconds:.0f} s, {summary.views_per_second:.0f} views/s, "
        f"loss {shown_number(summary.loss, digits=4)}"
    )
    if summary.knn_balanced_accuracy is not None:
        accuracy = summary.knn_balanced_accuracy_untrained, summary.knn_balanced_accuracy
        auc = summary.knn_mean_auc_untrained, summary.knn_mean_auc
        display.print(
            "kNN on the validation images, untrained -> pre-trained: "
            f"balanced accuracy {' -> '.join(map(shown_number, accuracy))}, "
            f"mean AUC {' -> '.join(map(shown_number, auc))}"
        )
    display.print(f"encoder: {run.encoder} (timm.create_model('local-dir:{run.encoder}', pretrained=True))")
    display.print(f"views, metrics, checkpoints: {run}")
