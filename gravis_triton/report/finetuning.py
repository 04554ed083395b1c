"""Data and score output of fine-tuning and evaluation."""

from collections.abc import Mapping, Sequence

from gravis_triton.data import (
    Annotation,
    CachedImages,
    Collection,
    Leaks,
    Split,
    describe_leaks,
    describe_split,
)
from gravis_triton.report.display import Display
from gravis_triton.report.metric_logger import MetricLogger
from gravis_triton.report.pretraining import print_skipped
from gravis_triton.run_directory import RunDirectory
from gravis_triton.training import Training

_MAX_NAMED = 5  # images


def print_annotated(
    display: Display,
    collection: Collection,
    images: CachedImages,
    split: Split,
    annotation: Annotation,
    used: Sequence[int],
) -> None:
    """Print the number of annotated images in each part of the split, and of training images in use."""
    display.print(f"data: {collection.name}, {len(images):,} images")
    print_skipped(display, images.skipped)
    for line in describe_split(split, collection, annotation):
        display.print(line)
    if len(used) < len(split.train):
        display.print(f"label fraction: {len(used):,} of {len(split.train):,} training images are used")


def print_empty_masks(display: Display, ids: Sequence[str]) -> None:
    """Warn about training images whose masks have no lesion, if any, and name the first few."""
    if ids:
        more = ", ..." if len(ids) > _MAX_NAMED else ""
        display.print(
            f"warning: {len(ids):,} masks of training images are empty (no lesion): "
            f"{', '.join(ids[:_MAX_NAMED])}{more}"
        )


def print_leaks(display: Display, leaks: Leaks) -> None:
    """Print one warning for each kind of leakage."""
    for line in describe_leaks(leaks):
        display.print(line)


def print_step(display: Display, training: Training) -> None:
    """Print the size of a step, and the number of steps and epochs."""
    batches, processes = training.batches, training.accelerator.num_processes
    display.print(
        f"step: {batches.batch_size} images x {processes} process{'es' if processes > 1 else ''}; "
        f"{len(batches):,} steps per epoch, {training.steps // len(batches)} epochs"
    )


def log_validation(
    scores: Mapping[str, float], metric_logger: MetricLogger, step: int, display: Display
) -> None:
    """Log and print scores on the validation set."""
    metric_logger.log({"step": step, **{f"validation_{name}": value for name, value in scores.items()}})
    display.print(f"validation after step {step:,}: {_scores(scores)}")


def print_test_scores(display: Display, scores: Mapping[str, float], images: int) -> None:
    """Print the main test scores on one line."""
    display.print(f"test ({images:,} images): {_scores(scores)}")


def print_finished(
    display: Display, run: RunDirectory, *, steps: int, best_step: int, validation_score: float
) -> None:
    """Print which checkpoint was tested, and the paths of the files."""
    display.print(
        f"best checkpoint: step {best_step:,} of {steps:,}, validation score {validation_score:.3f}"
    )
    display.print(f"scores, predictions, figures, model: {run}")
    display.print(f"predict: gravis predict {run} IMAGES, or gravis_triton.load('{run}').predict(image)")


def _scores(scores: Mapping[str, float]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in scores.items())
