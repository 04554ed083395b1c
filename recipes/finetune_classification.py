"""Fine-tune an encoder to tell diseases apart: `accelerate launch recipes/finetune_classification.py --help`."""

import dataclasses
import time
from collections.abc import Sequence

import torch
from torch import Tensor, nn

import gravis_triton.report as report
import gravis_triton.training as training
from gravis_triton.augment import LabelledView
from gravis_triton.data import digest_of_split, find_leaks, label_subset, split_collection
from gravis_triton.data.loader import LabelledBatch, labelled_loader
from gravis_triton.data.prepare import prepare_annotated
from gravis_triton.evaluation import classification_scores
from gravis_triton.models import Classifier, open_encoder
from gravis_triton.prediction import DiseasePredictor, InputSettings, save_predictor
from gravis_triton.settings import (
    ClassificationSettings,
    default_image_size,
    parse_settings,
    resolve_finetune,
    split_seed,
)


def main(args: Sequence[str] | None = None) -> int:
    launched = time.perf_counter()
    settings = parse_settings(ClassificationSettings, args)
    accelerator = training.start_accelerator(settings)
    display = report.Display(accelerator.is_main_process)
    run = report.choose_run(settings, accelerator, name="classification")

    # the pre-trained encoder
    training.seed_step(settings.seed, 0, 0)  # the same weights in every process
    opened = open_encoder(
        settings.encoder,
        model=settings.model,
        image_size=settings.image_size,
        default_size=default_image_size(settings),
    )
    display.say(opened.loaded)
    settings = resolve_finetune(settings, image_size=opened.image_size)

    # labelled images: to train on, to choose weights by, to test on
    with accelerator.local_main_process_first(), display.task("decoding images") as decoding:
        collection, images, _ = prepare_annotated(
            settings, seed=settings.seed, task="label", progress=decoding
        )
    split = split_collection(collection, held_out=settings.held_out, seed=split_seed(settings), task="label")
    used = label_subset(collection, split.train, fraction=settings.label_fraction, seed=settings.seed)
    report.say_annotated(display, collection, images, split, "label", used)
    if accelerator.is_main_process:
        report.say_leaks(display, find_leaks(collection, split, images=images, seen=opened.source_ids))
    split = dataclasses.replace(split, train=used)
    labels = [record.label for record in collection.records]

    def labels_of(indices: Sequence[int]) -> list[int]:
        return [label for i in indices if (label := labels[i]) is not None]

    batches = training.finetune_batches(len(used), settings, accelerator)

    # a classifier on the encoder, in training
    network = Classifier(opened.encoder, classes=len(collection.classes), dropout=settings.dropout)
    counts = torch.bincount(torch.tensor(labels_of(used)), minlength=len(collection.classes))
    inputs = InputSettings.of(opened.encoder, image_size=settings.image_size, cache_size=settings.cache_size)
    view = LabelledView(settings, size=inputs.image_size, mean=inputs.mean, std=inputs.std).to(
        accelerator.device
    )

    def examples(batch: LabelledBatch) -> tuple[Tensor, Tensor]:
        return view(batch.images, batch.extents), batch.labels

    finetuning = training.start_finetuning(
        accelerator,
        settings,
        run,
        network=network,
        encoder=opened.encoder,
        batches=batches,
        loader=labelled_loader(images, used, labels, batches, workers=settings.num_workers),
        examples=examples,
        images=digest_of_split(split, collection, settings.encoder),
        loss=training.ClassLoss(settings.class_loss, counts),
    )
    journal = report.open_finetuning(run, settings, finetuning, collection, split, display)

    def predictor(network: nn.Module, *, tta: bool) -> DiseasePredictor:
        return DiseasePredictor(
            network, inputs=inputs, classes=collection.classes, data_set=collection.name, tta=tta
        )

    def look(network: nn.Module) -> dict[str, float]:
        scores = classification_scores(
            predictor(network, tta=False).predict_all(images, split.validation),
            labels_of(split.validation),
            classes=collection.classes,
            scored=collection.scored_classes,
        )
        return {"mean_auc": scores.mean_auc, "balanced_accuracy": scores.balanced_accuracy}

    if status := report.follow_finetuning(finetuning, run, journal, display, look):
        return status

    # the best weights on images that nothing was chosen by
    if accelerator.is_main_process:
        network.load_state_dict(finetuning.best.weights)
        final = predictor(network, tta=settings.tta)
        save_predictor(final, run / "model", architecture=opened.architecture, decoder=None)
        probabilities = final.predict_all(images, split.test)
        scores = report.report_diagnoses(run, collection, split.test, probabilities)
        report.write_finetune_summary(
            run / "summary.json",
            finetuning,
            scores.flat(),
            split=split,
            seconds=time.perf_counter() - launched,
        )
        names = ("mean_auc", "balanced_accuracy", "mean_average_precision", "expected_calibration_error")
        report.say_scores(display, scores.flat(), names, len(split.test))
        report.say_finished(display, finetuning, run)
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return 0


if __name__ == "__main__":
    report.run_recipe(main)
