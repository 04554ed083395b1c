"""Evaluate a frozen encoder by k nearest neighbors and a linear probe."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from gravis_triton.data import external_test, open_collection, write_split
from gravis_triton.data.loading.prepare import open_annotated
from gravis_triton.errors import UserError
from gravis_triton.evaluation.classification import ClassificationScores
from gravis_triton.evaluation.features import (
    COLOR_HISTOGRAM,
    ColorHistogram,
    FlipAveraged,
    LabeledFeatures,
    extract_features,
    finite_features,
)
from gravis_triton.evaluation.knn import choose_neighbors, knn_probabilities
from gravis_triton.evaluation.prediction_files import write_class_predictions
from gravis_triton.evaluation.probe import LinearProbe, MultilabelProbe, fit_multilabel_probe, fit_probe
from gravis_triton.models import OpenedEncoder
from gravis_triton.report import console
from gravis_triton.report.classification import write_class_figures
from gravis_triton.report.display import Display
from gravis_triton.report.figures import caption_of
from gravis_triton.settings.defaults import complete, default_image_size
from gravis_triton.settings.jobs import EvaluateSettings
from gravis_triton.tasks.base import AnnotatedData
from gravis_triton.training.setup import end_trackers
from gravis_triton.workflows.annotated import load_annotated, summarize_subgroups, write_summary
from gravis_triton.workflows.job import JobContext, create_run_dir, open_initial_encoder, setup_job


@dataclass(frozen=True, slots=True)
class EvaluateResult:
    """directory: run directory. knn, probe: scores on the test set; None in all processes but the first."""

    directory: Path
    knn: ClassificationScores | None
    probe: ClassificationScores | None


def evaluate(settings: EvaluateSettings) -> EvaluateResult:
    """Score an encoder's frozen features on the test set; k and the probe's penalty are tuned on the validation set.

    Raises UserError for anything the user can fix.
    """
    job = setup_job(settings, name="evaluate")
    accelerator, display, run = job.accelerator, job.display, job.run

    # the encoder
    opened = _open_any_encoder(settings, display)
    settings = complete(settings, image_size=opened.image_size)

    # labeled images: training, validation and test sets
    collection = open_annotated(settings, seed=settings.seed, annotation="label")
    if settings.test_data is not None:
        reading = {**settings.reading(), "columns": settings.test_columns, "images": None}
        try:
            tested = open_collection(settings.test_data, **reading)
        except UserError as error:
            raise UserError(f"--test-data: {str(error).replace('--columns', '--test-columns')}") from error
        collection = external_test(collection, tested)
    data = load_annotated(collection, settings, job, annotation="label", pretrained_on=opened.image_ids)
    create_run_dir(run, settings, accelerator)
    if not accelerator.is_main_process:  # the first process does all the work
        return EvaluateResult(run.path, None, None)
    write_split(data.split, data.collection, run.split)

    # their features; k nearest neighbors and a linear probe, tuned on the validation set
    train, validation, test = _encode(opened, data, settings, job)
    collection, classes = data.collection, len(data.collection.classes)
    scored = collection.scored_indices
    neighbors = choose_neighbors(train, validation, classes=classes, scored=scored)
    probe: LinearProbe | MultilabelProbe
    with display.task("fitting linear probes") as fitting:
        if collection.multilabel:
            probe = fit_multilabel_probe(train, validation, progress=fitting)
        else:
            probe = fit_probe(train, validation, classes=classes, scored=scored, progress=fitting)

    # scores on the test set
    def score(name: str, method: str, parameter: str, probabilities: Tensor) -> ClassificationScores:
        caption = caption_of(opened.architecture, settings.encoder, method, collection.name)
        scores = write_class_predictions(run, collection, data.split.test, probabilities, name=name)
        write_class_figures(run, scores, probabilities, test.labels, name=name, caption=caption)
        display.print(
            f"{'kNN' if name == 'knn' else method} ({parameter}): mean AUC {scores.mean_auc:.3f}, "
            f"balanced accuracy {scores.balanced_accuracy:.3f} on {scores.images:,} test images"
        )
        if collection.multilabel:
            display.print("AUC: " + console.format_scores({c.name: c.auc for c in scores.classes}))
        return scores

    of_neighbors = knn_probabilities(train, test.features, classes=classes, neighbors=neighbors)
    knn = score("knn", "nearest neighbors", f"k = {neighbors}", of_neighbors)
    penalty = probe.inverse_penalty
    described = f"C = {penalty:g}" if isinstance(penalty, float) else "a C for each class"
    linear = score("probe", "linear probe", described, probe.probabilities(test.features))
    tuned = {"knn_neighbors": neighbors, "probe_inverse_penalty": penalty}
    _write_results(settings, job, opened, data, tuned, {"knn": knn, "probe": linear})
    end_trackers(accelerator)
    return EvaluateResult(run.path, knn, linear)


def _encode(
    opened: OpenedEncoder, data: AnnotatedData, settings: EvaluateSettings, job: JobContext
) -> list[LabeledFeatures]:
    """Features of the training, validation and test images."""
    accelerator = job.accelerator
    encoder = opened.encoder.to(accelerator.device)
    if settings.tta:
        encoder = FlipAveraged(encoder)
    parts = (data.split.train, data.split.validation, data.split.test)
    indices = [index for part in parts for index in part]
    with accelerator.autocast(), job.display.task("encoding images") as encoding:
        features = extract_features(
            encoder,
            data.images,
            indices,
            size=opened.image_size,
            device=accelerator.device,
            workers=settings.workers,
            progress=encoding,
        )
    labels, sizes = torch.tensor(data.collection.labels(indices)), [len(part) for part in parts]
    split = zip(finite_features(features).split(sizes), labels.split(sizes), strict=True)
    return [LabeledFeatures(*part) for part in split]


def _write_results(
    settings: EvaluateSettings,
    job: JobContext,
    opened: OpenedEncoder,
    data: AnnotatedData,
    tuned: Mapping[str, object],
    scores: Mapping[str, ClassificationScores],
) -> None:
    """Write summary and page."""
    summary: dict[str, object] = {
        "encoder": settings.encoder,
        "architecture": opened.architecture,
        "image_size": opened.image_size,
        **tuned,
    }
    for method, of_method in scores.items():
        summary |= {f"{method}_{name}": value for name, value in of_method.flat().items()}
        summary[f"{method}_subgroups"] = summarize_subgroups(data, job, method)
    logged = {name: value for name, value in summary.items() if isinstance(value, float)}
    write_summary(summary, data, job, logged, step=0)
    job.display.print(f"scores, predictions, figures: {job.run} ({job.seconds():.0f} s)")


def _open_any_encoder(settings: EvaluateSettings, display: Display) -> OpenedEncoder:
    """The encoder that the settings name, or the color histogram baseline."""
    if settings.encoder != COLOR_HISTOGRAM:
        return open_initial_encoder(settings, display, seed=settings.seed)
    if settings.model is not None:
        raise UserError(f"--model {settings.model} has no effect on --encoder {COLOR_HISTOGRAM}: drop it")
    line = "encoder: color histograms and a thumbnail, no learning"
    display.print(line)
    size = settings.image_size or default_image_size(settings.data)
    return OpenedEncoder(ColorHistogram(), COLOR_HISTOGRAM, size, line)
