"""What a fine-tuning run says of its data, and what it writes of its scores."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from PIL import Image

from gravis_triton.data import CachedImages, Collection
from gravis_triton.data.leaks import Leaks, describe_leaks
from gravis_triton.data.loader import Images
from gravis_triton.data.masks import lesion_pixels, native_mask
from gravis_triton.data.records import Task
from gravis_triton.data.split import Split, describe_split
from gravis_triton.evaluation.files import mask_file
from gravis_triton.evaluation.segmentation import MaskScores
from gravis_triton.files import write_whole
from gravis_triton.report.display import Display
from gravis_triton.report.figures import write_figure
from gravis_triton.report.run import Journal, finite_or_none
from gravis_triton.report.segmentation_pictures import MaskCase, choose_cases, draw_mask_cases
from gravis_triton.report.summary import device_name, say_skipped, versions
from gravis_triton.training import Finetuning


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


def say_finetuning(display: Display, run: Finetuning, *, batch_size: int, processes: int) -> None:
    """What one step is made of, and how many there are."""
    display.say(
        f"step: {batch_size} images x {processes} process{'es' if processes > 1 else ''}; "
        f"{run.progress.steps_per_epoch:,} steps an epoch, {run.settings.epochs} epochs"
    )


def write_finetune_summary(
    file: Path,
    run: Finetuning,
    scores: Mapping[str, float],
    *,
    split: Split,
    used: Sequence[int],
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
        "training_images": len(used),
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
