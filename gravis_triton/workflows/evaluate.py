"""Evaluate a frozen encoder by k nearest neighbors and a linear probe."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import gravis_triton.evaluation as evaluation
import gravis_triton.report as report
import gravis_triton.training as training
from gravis_triton.data import write_split
from gravis_triton.data.loading.prepare import open_annotated
from gravis_triton.errors import UserError
from gravis_triton.evaluation import COLOR_HISTOGRAM, ClassificationScores
from gravis_triton.files import write_json
from gravis_triton.models import OpenedEncoder, open_encoder
from gravis_triton.report.page import write_run_page
from gravis_triton.settings import EvaluateSettings, default_image_size, resolve_evaluate
from gravis_triton.workflows.annotated import load_annotated
from gravis_triton.workflows.launch import launch, open_run


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
    job = launch(settings, name="evaluate")
    accelerator, display, run = job.accelerator, job.display, job.run

    # the encoder
    training.seed_step(settings.run.seed, 0, 0)  # random weights are the ones pre-training starts from
    opened = _open_any_encoder(settings)
    settings = resolve_evaluate(settings, image_size=opened.image_size)
    display.print(opened.loaded)
    encoder = opened.encoder.to(accelerator.device)
    if settings.evaluation.tta:
        encoder = evaluation.FlipAveraged(encoder)

    # labeled images: training, validation and test sets
    collection = open_annotated(settings.data, seed=settings.run.seed, annotation="label")
    data = load_annotated(collection, settings, job, annotation="label", pretrained_on=opened.image_ids)
    open_run(run, settings, accelerator)
    if not accelerator.is_main_process:  # the first process does all the work
        return EvaluateResult(run.path, None, None)
    collection, split = data.collection, data.split
    write_split(split, collection, run.split)

    # their features
    workers = settings.data.num_workers
    assert workers is not None  # resolved
    parts = {"training": split.train, "validation": split.validation, "test": split.test}
    with accelerator.autocast(), display.task("encoding images") as encoding:
        features = evaluation.extract_features(
            encoder,
            data.images,
            [index for part in parts.values() for index in part],
            size=opened.image_size,
            device=accelerator.device,
            workers=workers,
            progress=encoding,
        ).split([len(part) for part in parts.values()])
    train, validation, test = (
        evaluation.labeled_features(rows, data.labels(part))
        for rows, part in zip(features, parts.values(), strict=True)
    )

    # k nearest neighbors and a linear probe, chosen on the validation set
    classes = len(collection.classes)
    scored = [collection.classes.index(name) for name in collection.scored_classes or collection.classes]
    neighbors = evaluation.choose_neighbors(train, validation, classes=classes, scored=scored)
    with display.task("fitting linear probes") as fitting:
        probe = evaluation.fit_probe(train, validation, classes=classes, scored=scored, progress=fitting)
    knn_probabilities = evaluation.knn_probabilities(
        train.features, train.labels, test.features, classes=classes, neighbors=neighbors
    )

    # scores on the test set
    def caption(method: str) -> str:
        return report.caption_of(opened.architecture, settings.encoder.encoder, method, collection.name)

    knn = report.write_class_predictions(
        run,
        collection,
        split.test,
        knn_probabilities,
        name="knn",
        caption=caption("nearest neighbors"),
    )
    display.print(f"kNN (k = {neighbors}): {_line(knn)}")
    linear = report.write_class_predictions(
        run,
        collection,
        split.test,
        probe.probabilities(test.features),
        name="probe",
        caption=caption("linear probe"),
    )
    display.print(f"linear probe (C = {probe.inverse_penalty:g}): {_line(linear)}")
    summary: Mapping[str, object] = {
        "encoder": settings.encoder.encoder,
        "architecture": opened.architecture,
        "image_size": opened.image_size,
        "scored_classes": list(collection.scored_classes or collection.classes),
        "knn_neighbors": neighbors,
        "probe_inverse_penalty": probe.inverse_penalty,
        **{f"{part}_images": len(indices) for part, indices in parts.items()},
        **{f"knn_{name}": value for name, value in knn.flat().items()},
        **{f"probe_{name}": value for name, value in linear.flat().items()},
        "seconds": job.seconds(),
        "device": report.device_name(accelerator.device),
        "versions": report.versions(),
    }
    write_json(run.summary, summary)
    write_run_page(run)
    accelerator.log({name: value for name, value in summary.items() if isinstance(value, float)}, step=0)
    report.log_pictures(accelerator, run, step=0)
    display.print(f"scores, predictions, figures: {run} ({job.seconds():.0f} s)")
    training.end_trackers(accelerator)
    return EvaluateResult(run.path, knn, linear)


def _line(scores: ClassificationScores) -> str:
    return (
        f"mean AUC {scores.mean_auc:.3f}, balanced accuracy {scores.balanced_accuracy:.3f} "
        f"on {scores.images:,} test images"
    )


def _open_any_encoder(settings: EvaluateSettings) -> OpenedEncoder:
    """The encoder that the settings name, or the color histogram baseline."""
    chosen, default_size = settings.encoder, default_image_size(settings.data)
    if chosen.encoder != COLOR_HISTOGRAM:
        return open_encoder(
            chosen.encoder, model=chosen.model, image_size=chosen.image_size, default_size=default_size
        )
    if chosen.model is not None:
        raise UserError(f"--model {chosen.model} has no effect on --encoder {COLOR_HISTOGRAM}: drop it")
    return OpenedEncoder(
        evaluation.ColorHistogram(),
        COLOR_HISTOGRAM,
        chosen.image_size or default_size,
        "encoder: color histograms and a thumbnail, no learning",
    )
