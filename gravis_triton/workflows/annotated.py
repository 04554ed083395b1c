"""Annotated images for fine-tuning and evaluation."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from gravis_triton.comparison.results import read_predictions
from gravis_triton.comparison.subgroups import score_subgroups
from gravis_triton.data import (
    Annotation,
    Collection,
    describe_leaks,
    describe_split,
    describe_subset,
    find_leaks,
    label_subset,
    split_collection,
)
from gravis_triton.data.datasets.attributes import read_attributes
from gravis_triton.data.loading.prepare import describe_masks, prepare_annotated
from gravis_triton.files import write_json
from gravis_triton.report.console import describe_environment, first_few, print_data
from gravis_triton.report.metric_logger import log_images
from gravis_triton.report.run_page import write_run_page
from gravis_triton.run_summary import shown
from gravis_triton.settings.defaults import resolved_split_seed
from gravis_triton.tasks.base import AnnotatedData
from gravis_triton.workflows.job import JobContext


def load_annotated(
    opened: Collection, settings: Any, job: JobContext, *, annotation: Annotation, pretrained_on: frozenset[str]
) -> AnnotatedData:
    """Decode, split and summarize the annotated images of an opened collection, and warn about leakage.

    pretrained_on: ids of the images that the encoder was pre-trained on. Raises UserError for a column to score by that
    the dataset of the test images does not have.
    """
    display = job.display
    columns = [column.strip() for column in settings.by.split(",")] if settings.by else []
    tested = getattr(settings, "test_data", None) or settings.data
    attributes = read_attributes(tested, columns, [record.id for record in opened.records])
    with job.accelerator.local_main_process_first(), display.task("decoding images") as decoding:
        collection, images, masks = prepare_annotated(opened, settings, annotation=annotation, progress=decoding)
    seed = resolved_split_seed(settings, settings.seed)
    split = split_collection(collection, val_fraction=settings.val_fraction, seed=seed, annotation=annotation)
    used = label_subset(collection, split.train, fraction=settings.label_fraction, seed=settings.seed)
    print_data(display, f"{collection.name}, {len(images):,} images", collection.notes, images.skipped)
    lines = describe_split(split, collection, annotation)
    if len(used) < len(split.train):
        lines.append(describe_subset(collection, split.train, used))
    if masks is not None:
        lines += describe_masks(collection, masks)
        if empty := [collection.records[i].id for i in used if not masks[i].any()]:
            lines.append(f"warning: {len(empty):,} masks of training images are empty (no lesion): {first_few(empty)}")
    if job.accelerator.is_main_process:
        lines += describe_leaks(find_leaks(collection, split, images=images, seen=pretrained_on))
    for line in lines:
        display.print(line)
    return AnnotatedData(collection, images, masks, dataclasses.replace(split, train=used), attributes)


def write_summary(
    summary: dict[str, Any], data: AnnotatedData, job: JobContext, logged: Mapping[str, float], *, step: int
) -> None:
    """Write the summary of a run, with what it was tested on, as JSON and its page.

    logged: scores for the tracker, which gets the figures, too.
    """
    accelerator, collection, split = job.accelerator, data.collection, data.split
    summary = {
        **summary,
        "scored_classes": list(collection.scored_classes or collection.classes),
        "training_images": len(split.train),
        "validation_images": len(split.validation),
        "test_images": len(split.test),
        "seconds": job.seconds(),
        **describe_environment(accelerator.device),
    }
    write_json(job.run.summary, summary)
    write_run_page(job.run)
    accelerator.log(dict(logged), step=step)
    log_images(accelerator, job.run, step)


def summarize_subgroups(data: AnnotatedData, job: JobContext, name: str = "") -> list[dict[str, Any]]:
    """The scores by subgroup of the predictions of a run, for its summary; prints the main score of each, one line per
    column. name: of the predictions, knn or probe, if there are several."""
    collection = data.collection
    if not data.attributes:
        return []
    predictions = read_predictions(job.run.predictions("image_scores.csv", name), collection.scored_classes)
    subgroups = score_subgroups(predictions, data.attributes, classes=collection.classes)
    for column in data.attributes:
        members = [subgroup for subgroup in subgroups if subgroup.column == column]
        score = next((score for subgroup in members for score in subgroup.scores), "")
        values = [
            f"{one.name} {one.scores[score][0]:.3f}" if one.scores else f"{one.name} too few ({one.images})"
            for one in members
        ]
        job.display.print(" ".join([*filter(None, (shown(name), shown(score))), f"by {column}: {', '.join(values)}"]))
    return [dataclasses.asdict(subgroup) for subgroup in subgroups]
