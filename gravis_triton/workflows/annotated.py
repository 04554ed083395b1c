"""Annotated images for fine-tuning and evaluation."""

import dataclasses
from typing import Any

from gravis_triton.comparison.results import read_predictions
from gravis_triton.comparison.subgroups import score_subgroups
from gravis_triton.data import Annotation, Collection, describe_leaks, find_leaks, label_subset, split_collection
from gravis_triton.data.datasets.attributes import read_attributes
from gravis_triton.data.loading.prepare import describe_masks, prepare_annotated
from gravis_triton.report.console import print_annotated, print_empty_masks, print_subgroups
from gravis_triton.settings import resolved_split_seed
from gravis_triton.tasks import AnnotatedData
from gravis_triton.workflows.job import JobContext


def summarize_subgroups(data: AnnotatedData, job: JobContext, name: str = "") -> list[dict[str, Any]]:
    """The scores by subgroup of the predictions of a run, for its summary; prints the main one. name: knn or probe."""
    collection = data.collection
    if not data.attributes:
        return []
    predictions = read_predictions(job.run.predictions("image_scores.csv", name), collection.scored_classes)
    subgroups = score_subgroups(predictions, data.attributes, classes=collection.classes)
    print_subgroups(job.display, subgroups, name)
    return [dataclasses.asdict(subgroup) for subgroup in subgroups]


def load_annotated(
    opened: Collection,
    settings: Any,
    job: JobContext,
    *,
    annotation: Annotation,
    pretrained_on: frozenset[str],
    test_data: str | None = None,
) -> AnnotatedData:
    """Decode, split and summarize the annotated images of an opened collection, and warn about leakage.

    pretrained_on: ids of the images that the encoder was pre-trained on. test_data: the dataset of the test images, if
    it is another one. Raises UserError for a column to score by that
    the dataset does not have.
    """
    columns = [column.strip() for column in settings.by.split(",")] if settings.by else []
    attributes = read_attributes(test_data or settings.data, columns, [record.id for record in opened.records])
    with job.accelerator.local_main_process_first(), job.display.task("decoding images") as decoding:
        collection, images, masks = prepare_annotated(opened, settings, annotation=annotation, progress=decoding)
    split = split_collection(
        collection,
        val_fraction=settings.val_fraction,
        seed=resolved_split_seed(settings, settings.seed),
        annotation=annotation,
    )
    used = label_subset(collection, split.train, fraction=settings.label_fraction, seed=settings.seed)
    print_annotated(job.display, collection, images, split, annotation, used)
    if masks is not None:
        for line in describe_masks(collection, masks):
            job.display.print(line)
        print_empty_masks(job.display, [collection.records[i].id for i in used if not masks[i].any()])
    if job.accelerator.is_main_process:
        for line in describe_leaks(find_leaks(collection, split, images=images, seen=pretrained_on)):
            job.display.print(line)
    return AnnotatedData(collection, images, masks, dataclasses.replace(split, train=used), attributes)
