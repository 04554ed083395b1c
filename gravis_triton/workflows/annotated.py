"""Annotated images for fine-tuning and evaluation."""

import dataclasses
from typing import Any

from gravis_triton.data import (
    Annotation,
    Collection,
    describe_leaks,
    find_leaks,
    label_subset,
    split_collection,
)
from gravis_triton.data.loading.prepare import prepare_annotated
from gravis_triton.report.console import print_annotated, print_empty_masks
from gravis_triton.settings import resolved_split_seed
from gravis_triton.tasks import AnnotatedData
from gravis_triton.workflows.job import JobContext


def load_annotated(
    opened: Collection,
    settings: Any,
    job: JobContext,
    *,
    annotation: Annotation,
    pretrained_on: frozenset[str],
) -> AnnotatedData:
    """Decode, split and summarize the annotated images of an opened collection, and warn about leakage.

    pretrained_on: ids of the images that the encoder was pre-trained on.
    """
    with job.accelerator.local_main_process_first(), job.display.task("decoding images") as decoding:
        collection, images, masks = prepare_annotated(
            opened, settings, annotation=annotation, progress=decoding
        )
    split = split_collection(
        collection,
        val_fraction=settings.val_fraction,
        seed=resolved_split_seed(settings, settings.seed),
        annotation=annotation,
    )
    used = label_subset(collection, split.train, fraction=settings.label_fraction, seed=settings.seed)
    print_annotated(job.display, collection, images, split, annotation, used)
    if masks is not None:
        print_empty_masks(job.display, [collection.records[i].id for i in used if not masks[i].any()])
    if job.accelerator.is_main_process:
        for line in describe_leaks(find_leaks(collection, split, images=images, seen=pretrained_on)):
            job.display.print(line)
    return AnnotatedData(collection, images, masks, dataclasses.replace(split, train=used))
