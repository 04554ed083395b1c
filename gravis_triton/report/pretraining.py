"""Start and end output of a pre-training run."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from gravis_triton.data.loading.pretraining import PretrainingData
from gravis_triton.evaluation import KnnScores
from gravis_triton.files import write_json
from gravis_triton.report.display import Display
from gravis_triton.report.environment import device_name, versions
from gravis_triton.report.metric_logger import MetricLogger
from gravis_triton.run_directory import RunDirectory
from gravis_triton.run_summary import shown_number
from gravis_triton.settings import PretrainSettings
from gravis_triton.training import Training, TrainState

_MAX_NAMED = 5  # skipped images


def print_data(display: Display, data: PretrainingData) -> None:
    """Print the number of images, their kind, and those that could not be read."""
    display.print(f"data: {data.description}")
    print_skipped(display, data.skipped)


def print_skipped(display: Display, skipped: Sequence[tuple[str, str]]) -> None:
    """Print the first few of the unreadable images, (id, reason), if any."""
    if skipped:
        named = "; ".join(f"{name} ({reason})" for name, reason in skipped[:_MAX_NAMED])
        more = f"; and {len(skipped) - _MAX_NAMED} more" if len(skipped) > _MAX_NAMED else ""
        display.print(f"skipped: {len(skipped)} unreadable images: {named}{more}")


def print_batch(
    display: Display, settings: PretrainSettings, *, processes: int, steps_per_epoch: int
) -> None:
    """Print the size of a step: images x views x processes."""
    batch_size, views = settings.optimization.batch_size, settings.augmentation.views
    epochs, total_views = settings.optimization.epochs, settings.optimization.total_views
    length = f"{epochs} epochs" if total_views is None else f"{total_views:,} views in total"
    display.print(
        f"step: {batch_size} images x {views} views x {processes} process{'es' if processes > 1 else ''} = "
        f"{batch_size * views * processes:,} views of {settings.model.image_size} px; "
        f"{steps_per_epoch:,} steps per epoch, {length}"
    )


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


def log_scores(
    scores: KnnScores | None,
    encoder: str,
    metric_logger: MetricLogger,
    step: int,
    display: Display,
    *,
    key: str = "knn",
) -> None:
    """Log and print the kNN scores of an encoder, if any, under names that start with `key`."""
    if scores is None:
        return
    values = {f"{key}_balanced_accuracy": scores.balanced_accuracy, f"{key}_mean_auc": scores.mean_auc}
    metric_logger.log({"step": step, **values})
    display.print(
        f"{encoder}: kNN balanced accuracy {scores.balanced_accuracy:.3f}, mean AUC {scores.mean_auc:.3f} "
        f"on {scores.images:,} validation images"
    )


def summarize(
    metric_logger: MetricLogger,
    training: Training,
    state: TrainState,
    *,
    views: int,
    seconds: float,
    validation_images: int,
    skipped: int,
) -> PretrainSummary:
    """The summary of a run from its metrics; seconds: duration of this launch."""
    made = state.step * training.batches.batch_size * state.processes * views
    return PretrainSummary(
        loss=metric_logger.last("loss"),
        knn_balanced_accuracy=metric_logger.last("knn_balanced_accuracy"),
        knn_balanced_accuracy_untrained=metric_logger.at(0, "knn_balanced_accuracy"),
        knn_mean_auc=metric_logger.last("knn_mean_auc"),
        knn_mean_auc_untrained=metric_logger.at(0, "knn_mean_auc"),
        knn_all_balanced_accuracy=metric_logger.last("knn_all_balanced_accuracy"),
        knn_all_mean_auc=metric_logger.last("knn_all_mean_auc"),
        views_per_second=made / state.seconds,
        seconds=seconds,
        steps=state.step,
        training_images=training.batches.images,
        validation_images=validation_images,
        skipped=skipped,
        processes=state.processes,
        device=device_name(training.accelerator.device),
        versions=versions(),
    )


def write_summary(summary: PretrainSummary, file: Path) -> None:
    """Write summary.json."""
    write_json(file, asdict(summary))


def print_summary(display: Display, summary: PretrainSummary, run: RunDirectory) -> None:
    """Print speed, loss and scores of the run, and the paths of its files."""
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
