"""Fine-tune an encoder to outline lesions: `accelerate launch recipes/finetune_segmentation.py --help`."""

import dataclasses
import time
from collections.abc import Sequence

from torch import Tensor, nn

import gravis_triton.report as report
import gravis_triton.training as training
from gravis_triton.augment import LabelledView
from gravis_triton.data import digest_of_split, find_leaks, label_subset, split_collection
from gravis_triton.data.loader import MaskedBatch, masked_loader
from gravis_triton.data.prepare import prepare_annotated
from gravis_triton.evaluation import save_mask, segmentation_scores, write_mask_scores_csv
from gravis_triton.models import build_segmenter, open_encoder
from gravis_triton.prediction import InputSettings, MaskPredictor, save_predictor
from gravis_triton.prediction.outline import compare_masks
from gravis_triton.settings import (
    SegmentationSettings,
    default_image_size,
    parse_settings,
    resolve_finetune,
    split_seed,
)


def main(args: Sequence[str] | None = None) -> int:
    launched = time.perf_counter()
    settings = parse_settings(SegmentationSettings, args)
    accelerator = training.start_accelerator(settings)
    display = report.Display(accelerator.is_main_process)
    run = report.choose_run(settings, accelerator, name="segmentation")

    # the pre-trained encoder, and a decoder on it
    training.seed_step(settings.seed, 0, 0)  # the same weights in every process
    opened = open_encoder(
        settings.encoder,
        model=settings.model,
        image_size=settings.image_size,
        default_size=default_image_size(settings),
    )
    display.say(opened.loaded)
    settings = resolve_finetune(settings, image_size=opened.image_size)
    network, tensors = build_segmenter(
        opened.encoder,
        architecture=opened.architecture,
        decoder=settings.decoder,
        image_size=settings.image_size,
    )
    display.say(f"decoder: {settings.decoder}, on all {tensors} tensors of the encoder's feature pyramid")

    # images with masks: to train on, to choose weights by, to test on
    with accelerator.local_main_process_first(), display.task("decoding images") as decoding:
        collection, images, masks = prepare_annotated(
            settings, seed=settings.seed, task="mask", progress=decoding
        )
    assert masks is not None
    split = split_collection(collection, held_out=settings.held_out, seed=split_seed(settings), task="mask")
    used = label_subset(collection, split.train, fraction=settings.label_fraction, seed=settings.seed)
    report.say_annotated(display, collection, images, split, "mask", used)
    if accelerator.is_main_process:
        report.say_leaks(display, find_leaks(collection, split, images=images, seen=opened.source_ids))
    split = dataclasses.replace(split, train=used)
    batches = training.finetune_batches(len(used), settings, accelerator)

    # training
    inputs = InputSettings.of(opened.encoder, image_size=settings.image_size, cache_size=settings.cache_size)
    view = LabelledView(settings, size=inputs.image_size, mean=inputs.mean, std=inputs.std).to(
        accelerator.device
    )

    def examples(batch: MaskedBatch) -> tuple[Tensor, Tensor]:
        return view.image_and_mask(batch.images, batch.extents, batch.masks)

    finetuning = training.start_finetuning(
        accelerator,
        settings,
        run,
        network=network,
        encoder=opened.encoder,
        batches=batches,
        loader=masked_loader(images, masks, used, batches, workers=settings.num_workers),
        examples=examples,
        images=digest_of_split(split, collection, settings.encoder),
        loss=training.MaskLoss(),
    )
    journal = report.open_finetuning(run, settings, finetuning, collection, split, display)

    def look(network: nn.Module) -> dict[str, float]:
        compared = compare_masks(MaskPredictor(network, inputs=inputs), collection, images, split.validation)
        scores = segmentation_scores([case.scores for case in compared])
        return {"jaccard": scores.jaccard, "dice": scores.dice}

    if status := report.follow_finetuning(finetuning, run, journal, display, look):
        return status

    # the best weights on images that nothing was chosen by
    if accelerator.is_main_process:
        network.load_state_dict(finetuning.best.weights)
        predictor = MaskPredictor(network, inputs=inputs, tta=settings.tta)
        save_predictor(predictor, run / "model", architecture=opened.architecture, decoder=settings.decoder)
        per_image = []
        for case in compare_masks(predictor, collection, images, split.test):
            save_mask(run / "masks", case.id, case.predicted)
            per_image.append(case.scores)
        ids = [collection.records[i].id for i in split.test]
        scores = segmentation_scores(per_image)
        write_mask_scores_csv(run / "image_scores.csv", ids, per_image)
        report.save_mask_cases(run, collection, images, split.test, per_image)
        report.write_finetune_summary(
            run / "summary.json",
            finetuning,
            scores.flat(),
            split=split,
            seconds=time.perf_counter() - launched,
        )
        names = ("jaccard", "thresholded_jaccard", "dice", "accuracy", "sensitivity", "specificity")
        report.say_scores(display, scores.flat(), names, len(ids))
        report.say_finished(display, finetuning, run)
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return 0


if __name__ == "__main__":
    report.run_recipe(main)
