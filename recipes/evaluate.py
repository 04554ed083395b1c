"""Evaluate a frozen encoder by nearest neighbours and a linear probe: `python recipes/evaluate.py --help`."""

import dataclasses
import json
import time
from collections.abc import Sequence

import gravis_triton.evaluation as evaluation
import gravis_triton.report as report
import gravis_triton.training as training
from gravis_triton.data import find_leaks, label_subset, split_collection, write_split
from gravis_triton.data.prepare import prepare_annotated
from gravis_triton.errors import UserError
from gravis_triton.evaluation import COLOR_HISTOGRAM
from gravis_triton.files import write_whole
from gravis_triton.models import OpenedEncoder, open_encoder
from gravis_triton.report.run import finite_or_none
from gravis_triton.report.summary import device_name, versions
from gravis_triton.settings import (
    EvaluateSettings,
    default_image_size,
    parse_settings,
    resolve_evaluation,
    split_seed,
)


def main(args: Sequence[str] | None = None) -> int:
    launched = time.perf_counter()
    settings = parse_settings(EvaluateSettings, args)
    accelerator = training.start_accelerator(settings)
    display = report.Display(accelerator.is_main_process)

    # the encoder
    training.seed_step(settings.seed, 0, 0)  # random weights are those that pre-training starts from
    opened = open_any_encoder(settings)
    settings = resolve_evaluation(settings, image_size=opened.image_size)
    run = report.choose_run(settings, accelerator, name=f"evaluate-{opened.architecture}")
    display.say(opened.loaded)
    encoder = opened.encoder.to(accelerator.device)
    if settings.tta:
        encoder = evaluation.FlipAveraged(encoder)

    # labelled images: to learn from, to choose by, and to be tested on
    with accelerator.local_main_process_first(), display.task("decoding images") as decoding:
        collection, images, _ = prepare_annotated(
            settings, seed=settings.seed, task="label", progress=decoding
        )
    split = split_collection(collection, held_out=settings.held_out, seed=split_seed(settings), task="label")
    used = label_subset(collection, split.train, fraction=settings.label_fraction, seed=settings.seed)
    report.say_annotated(display, collection, images, split, "label", used)
    if accelerator.is_main_process:
        report.say_leaks(display, find_leaks(collection, split, images=images, seen=opened.source_ids))
    report.open_run(run, settings, accelerator)
    if not accelerator.is_main_process:  # the first process does all the work
        return 0
    write_split(dataclasses.replace(split, train=used), collection, run / "split.csv")

    # their features
    parts = {"training": used, "validation": split.validation, "test": split.test}
    with accelerator.autocast():
        features = evaluation.extract_features(
            encoder,
            images,
            [index for part in parts.values() for index in part],
            size=settings.image_size,
            device=accelerator.device,
            workers=settings.num_workers,
        ).split([len(part) for part in parts.values()])
    bank, validation, test = (
        evaluation.labelled_features(rows, [collection.records[index] for index in part])
        for rows, part in zip(features, parts.values(), strict=True)
    )

    # neighbours and probe, set by the validation images
    classes = len(collection.classes)
    scored = [collection.classes.index(name) for name in collection.scored_classes or collection.classes]
    neighbours = evaluation.choose_neighbours(bank, validation, classes=classes, scored=scored)
    probe = evaluation.fit_probe(bank, validation, classes=classes, scored=scored)
    predictions = {
        "knn": evaluation.knn_probabilities(
            bank.features, bank.labels, test.features, classes=classes, neighbours=neighbours
        ),
        "probe": probe.probabilities(test.features),
    }
    said = {
        "knn": f"{neighbours} nearest neighbour{'s' if neighbours > 1 else ''}",
        "probe": f"linear probe (C = {probe.inverse_penalty:g})",
    }

    # what they are worth on the test images
    summary: dict[str, object] = {
        "encoder": settings.encoder,
        "architecture": opened.architecture,
        "image_size": settings.image_size,
        "knn_neighbours": neighbours,
        "probe_inverse_penalty": probe.inverse_penalty,
        **{f"{part}_images": len(indices) for part, indices in parts.items()},
    }
    for name, probabilities in predictions.items():
        scores = report.report_diagnoses(run, collection, split.test, probabilities, name=name)
        summary |= {f"{name}_{key}": finite_or_none(value) for key, value in scores.flat().items()}
        display.say(
            f"{said[name]}: mean AUC {scores.mean_auc:.3f}, balanced accuracy {scores.balanced_accuracy:.3f} "
            f"on {scores.images:,} test images"
        )
    seconds = time.perf_counter() - launched
    summary |= {"seconds": seconds, "device": device_name(accelerator.device), "versions": versions()}
    write_whole(run / "summary.json", json.dumps(summary, indent=2) + "\n")
    accelerator.log({name: value for name, value in summary.items() if isinstance(value, float)}, step=0)
    display.say(f"scores, predictions, pictures: {run} ({seconds:.0f} s)")
    accelerator.end_training()
    return 0


def open_any_encoder(settings: EvaluateSettings) -> OpenedEncoder:
    """The encoder that the settings name; color-histogram is one too, for which nothing was learned."""
    default_size = default_image_size(settings)
    if settings.encoder != COLOR_HISTOGRAM:
        return open_encoder(
            settings.encoder,
            model=settings.model,
            image_size=settings.image_size,
            default_size=default_size,
        )
    if settings.model is not None:
        raise UserError(f"--model {settings.model} has no effect on --encoder {COLOR_HISTOGRAM}: drop it")
    return OpenedEncoder(
        evaluation.ColorHistogram(),
        COLOR_HISTOGRAM,
        settings.image_size or default_size,
        "encoder: colour histograms and a thumbnail, nothing learned",
    )


if __name__ == "__main__":
    report.run_recipe(main)
