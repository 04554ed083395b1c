"""What a fine-tuning run says of its data, and what it writes of its scores."""

import json
import math
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from PIL import Image
from torch import nn

from gravis_triton.data import CachedImages, Collection
from gravis_triton.data.leaks import Leaks, describe_leaks
from gravis_triton.data.loader import Images
from gravis_triton.data.masks import lesion_pixels, native_mask
from gravis_triton.data.records import Task
from gravis_triton.data.split import Split, describe_split, write_split
from gravis_triton.evaluation.files import mask_file
from gravis_triton.evaluation.segmentation import MaskScores
from gravis_triton.files import write_whole
from gravis_triton.report.display import Display
from gravis_triton.report.figures import write_figure
from gravis_triton.report.run import Journal, finite_or_none, open_run
from gravis_triton.report.segmentation_pictures import MaskCase, choose_cases, draw_mask_cases
from gravis_triton.report.summary import device_name, say_skipped, versions
from gravis_triton.settings import FinetuneSettings
from gravis_triton.training import Finetuning, finetune, stop_on_signals
from gravis_triton.training.metrics import StepMetrics


def say_annotated(
    display: Display,
    collection: Collection,
    images: CachedImages,
    split: Split,
    task: Task,
    used: Sequence[int],
) -> None:
    """How many annotated images are in each part, and how many of the training labels are used."""
    display.say(f"data: {collection.name}, {len(images):,} images")
    say_skipped(display, images.skipped)
    for line in describe_split(split, collection, task):
        display.say(line)
    if len(used) < len(split.train):
        display.say(f"few labels: {len(used):,} of the {len(split.train):,} training images are used")


def say_leaks(display: Display, leaks: Leaks) -> None:
    """A warning for each kind of leakage that there is."""
    for line in describe_leaks(leaks):
        display.say(line)


def open_finetuning(
    run: Path,
    settings: FinetuneSettings,
    finetuning: Finetuning,
    collection: Collection,
    split: Split,
    display: Display,
) -> Journal:
    """Open the run's directory, write split.csv, and say what one step is made of. Called by all processes."""
    accelerator, batches = finetuning.training.accelerator, finetuning.training.batches
    processes = accelerator.num_processes
    display.say(
        f"step: {batches.batch_size} images x {processes} process{'es' if processes > 1 else ''}; "
        f"{len(batches):,} steps an epoch, {finetuning.settings.epochs} epochs"
    )
    open_run(run, settings, accelerator)
    if accelerator.is_main_process:
        write_split(split, collection, run / "split.csv")
    return Journal(run, finetuning.progress.step, accelerator)


def follow_finetuning(
    finetuning: Finetuning,
    run: Path,
    journal: Journal,
    display: Display,
    look: Callable[[nn.Module], Mapping[str, float]],
) -> int:
    """Train to the end; returns 0, or the exit status of a run that a signal stopped.

    look: scores of a network on the validation images, the first of which that is a number decides.
    """

    def looked(network: nn.Module) -> float:
        scores = look(network)
        record_look(scores, journal, finetuning.progress.step, display)
        return next((score for score in scores.values() if not math.isnan(score)), math.nan)

    with (
        display.training(finetuning.progress.step, finetuning.last_step) as show,
        stop_on_signals() as stop,
    ):

        def record(metrics: StepMetrics) -> None:
            show(metrics)
            journal.append(asdict(metrics))

        stopped = finetune(finetuning, look=looked, checkpoints=run / "checkpoints", stop=stop, report=record)
    if not stopped:
        return 0
    display.say(f"stopped after step {finetuning.progress.step:,}; go on with --resume {run}")
    return 128 + (stop.number or signal.SIGTERM)


def write_finetune_summary(
    file: Path,
    run: Finetuning,
    scores: Mapping[str, float],
    *,
    split: Split,
    seconds: float,
) -> None:
    """summary.json: the test scores by name, the validation score that chose the weights, and what it took.

    What is not a number is null.
    """
    values = {
        **scores,
        "validation_score": run.best.score,
        "best_step": run.best.step,
        "steps": run.progress.step,
        "training_images": len(split.train),
        "validation_images": len(split.validation),
        "test_images": len(split.test),
        "seconds": seconds,
        "processes": run.progress.processes,
        "device": device_name(run.training.accelerator.device),
        "versions": versions(),
    }
    finite = {name: finite_or_none(value) for name, value in values.items()}
    write_whole(file, json.dumps(finite, indent=2) + "\n")


def say_scores(display: Display, scores: Mapping[str, float], names: Sequence[str], images: int) -> None:
    """The main test scores on one line."""
    told = ", ".join(f"{name.replace('_', ' ')} {scores[name]:.3f}" for name in names)
    display.say(f"test ({images:,} images): {told}")


def say_finished(display: Display, finetuning: Finetuning, run: Path) -> None:
    """Where everything is, and which weights were chosen."""
    best = finetuning.best
    display.say(
        f"weights of step {best.step:,} of {finetuning.progress.step:,}, the best on the validation images "
        f"(score {best.score:.3f})"
    )
    display.say(f"scores, predictions, pictures, model: {run}")
    display.say(
        f"predict: python recipes/predict.py {run} IMAGES, or gravis_triton.load('{run}').predict(image)"
    )


def record_look(scores: Mapping[str, float], journal: Journal, step: int, display: Display) -> None:
    """Put scores on the validation images into the journal and on the screen."""
    journal.append({"step": step, **{f"validation_{name}": value for name, value in scores.items()}})
    told = ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in scores.items())
    display.say(f"validation after step {step:,}: {told}")


def save_mask_cases(
    run: Path, collection: Collection, images: Images, indices: Sequence[int], scores: Sequence[MaskScores]
) -> None:
    """cases.png: best, median and worst of the images whose predicted masks lie in the run's directory."""

    def case(number: int) -> MaskCase:
        record = collection.records[indices[number]]
        with Image.open(mask_file(run / "masks", record.id)) as file:
            predicted = lesion_pixels(file)
        return MaskCase(
            record.id,
            images[indices[number]],
            torch.from_numpy(native_mask(record)) > 0,
            torch.from_numpy(predicted) > 0,
            scores[number].jaccard,
        )

    cases = {kind: [case(number) for number in row] for kind, row in choose_cases(scores).items()}
    write_figure(draw_mask_cases(cases), run / "cases.png")
