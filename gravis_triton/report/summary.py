"""What a pre-training run says of itself at its start and at its end."""

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import kornia
import timm
import torch

from gravis_triton.data.sources import SourceImages
from gravis_triton.evaluation import KnnScores
from gravis_triton.files import write_whole
from gravis_triton.report.display import Display
from gravis_triton.report.run import Journal, finite_or_none
from gravis_triton.settings import PretrainSettings
from gravis_triton.training import Progress, Training

_NAMED = 5  # skipped images that are named on the screen


def say_data(display: Display, data: SourceImages) -> None:
    """How many images there are, of what kind, and which could not be read."""
    display.say(f"data: {data.description}")
    say_skipped(display, data.skipped)


def say_skipped(display: Display, skipped: Sequence[tuple[str, str]]) -> None:
    """The first few of the images, (id, reason), that could not be read; nothing where there are none."""
    if skipped:
        named = "; ".join(f"{name} ({reason})" for name, reason in skipped[:_NAMED])
        more = f"; and {len(skipped) - _NAMED} more" if len(skipped) > _NAMED else ""
        display.say(f"skipped: {len(skipped)} unreadable images: {named}{more}")


def say_batch(display: Display, settings: PretrainSettings, *, processes: int, steps_per_epoch: int) -> None:
    """What one step is made of."""
    total = settings.batch_size * settings.views * processes
    display.say(
        f"step: {settings.batch_size} sources x {settings.views} views x {processes} "
        f"process{'es' if processes > 1 else ''} = {total:,} views of {settings.image_size} px; "
        f"{steps_per_epoch:,} steps an epoch, {settings.epochs} epochs"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """summary.json: what a run achieved, with what. Scores are null where there are no labels.

    loss: mean over the steps of the last metrics. views_per_second: of all processes, while training. seconds: of the
    last launch, from its start to its end.
    """

    loss: float
    knn_balanced_accuracy: float | None
    knn_balanced_accuracy_untrained: float | None
    knn_mean_auc: float | None
    knn_mean_auc_untrained: float | None
    views_per_second: float
    seconds: float
    steps: int
    sources: int
    held_out: int
    skipped: int
    processes: int
    device: str
    versions: dict[str, str]


def versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "timm": timm.__version__,
        "kornia": kornia.__version__,
    }


def device_name(device: torch.device) -> str:
    """The name of the processor that trains."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({torch.get_num_threads()} threads)"


def record_scores(scores: KnnScores | None, what: str, journal: Journal, step: int, display: Display) -> None:
    """Put the scores of an encoder into the journal and on the screen, where there are any."""
    if scores is None:
        return
    values = {"knn_balanced_accuracy": scores.balanced_accuracy, "knn_mean_auc": scores.mean_auc}
    journal.append({"step": step, **values})
    display.say(
        f"{what}: kNN balanced accuracy {scores.balanced_accuracy:.3f}, mean AUC {scores.mean_auc:.3f} "
        "on the held-out images"
    )


def summarize(
    journal: Journal,
    training: Training,
    progress: Progress,
    *,
    views: int,
    seconds: float,
    held_out: int,
    skipped: int,
) -> Summary:
    """The summary of a run from its journal; `seconds` are those of this launch."""
    accelerator, step = training.accelerator, progress.step
    made = step * training.batches.batch_size * progress.processes * views
    return Summary(
        loss=journal.last("loss"),
        knn_balanced_accuracy=journal.last("knn_balanced_accuracy"),
        knn_balanced_accuracy_untrained=journal.first("knn_balanced_accuracy"),
        knn_mean_auc=journal.last("knn_mean_auc"),
        knn_mean_auc_untrained=journal.first("knn_mean_auc"),
        views_per_second=made / progress.seconds,
        seconds=seconds,
        steps=step,
        sources=training.batches.sources,
        held_out=held_out,
        skipped=skipped,
        processes=progress.processes,
        device=device_name(accelerator.device),
        versions=versions(),
    )


def write_summary(summary: Summary, run: Path) -> None:
    """Write summary.json; what is not a number is null."""
    values = {name: finite_or_none(value) for name, value in asdict(summary).items()}
    write_whole(run / "summary.json", json.dumps(values, indent=2) + "\n")


def say_summary(display: Display, summary: Summary, run: Path) -> None:
    """What the run achieved, and where everything is."""
    display.say(
        f"done: {summary.steps:,} steps in {summary.seconds:.0f} s, {summary.views_per_second:.0f} views/s, "
        f"loss {summary.loss:.4f}"
    )
    if summary.knn_balanced_accuracy is not None:
        display.say(
            f"kNN on the held-out images, untrained -> pre-trained: balanced accuracy "
            f"{_shown(summary.knn_balanced_accuracy_untrained)} -> {_shown(summary.knn_balanced_accuracy)}, "
            f"mean AUC {_shown(summary.knn_mean_auc_untrained)} -> {_shown(summary.knn_mean_auc)}"
        )
    display.say(
        f"encoder: {run / 'encoder'} (timm.create_model('local-dir:{run / 'encoder'}', pretrained=True))"
    )
    display.say(f"pictures, metrics, checkpoints: {run}")


def _shown(score: float | None) -> str:
    return "unknown" if score is None else f"{score:.3f}"
