"""Pre-train an image encoder on dermatology images: `accelerate launch recipes/pretrain.py --help`."""

import dataclasses
import signal
import time
from collections.abc import Sequence

from torch import nn

import gravis_triton.report as report
import gravis_triton.training as training
from gravis_triton.augment import ViewMaker
from gravis_triton.data import hold_out
from gravis_triton.data.loader import collate_sources, source_loader
from gravis_triton.data.prepare import prepare_images
from gravis_triton.data.sampler import EpochBatches
from gravis_triton.evaluation import score_encoder
from gravis_triton.losses import Objective, resolve_loss
from gravis_triton.models import Pretrainer, build_encoder, normalization
from gravis_triton.settings import PretrainSettings, parse_settings, resolve_settings, split_seed


def main(args: Sequence[str] | None = None) -> int:
    launched = time.perf_counter()
    settings = resolve_loss(resolve_settings(parse_settings(PretrainSettings, args)))
    accelerator = training.start_accelerator(settings)
    display = report.Display(accelerator.is_main_process)
    run = report.choose_run(settings, accelerator, name=f"{settings.model}-{settings.loss}")

    # encoder with projection head, and its views
    training.seed_step(settings.seed, 0, 0)  # the same weights in every process
    encoder = build_encoder(settings.model, image_size=settings.image_size, pretrained=settings.pretrained)
    mean, std = normalization(encoder)
    views = ViewMaker(settings, size=settings.image_size, mean=mean, std=std).to(accelerator.device)
    model: nn.Module = Pretrainer(encoder, hidden=settings.projection_hidden, dim=settings.projection_dim)
    model = training.prepare_model(
        model, accelerator, channels_last=settings.channels_last, compile=settings.compile
    )
    optimizer = training.build_optimizer(model, settings)

    # source images, decoded once; those held out are not trained on
    with accelerator.local_main_process_first(), display.task("decoding images") as decoding:
        collection, images = prepare_images(settings, seed=settings.seed, progress=decoding)
    sources, held_out = hold_out(collection, fraction=settings.held_out, seed=split_seed(settings))
    report.say_data(display, collection, images, sources, held_out)
    batches = EpochBatches(
        len(sources),
        batch_size=settings.batch_size,
        process=accelerator.process_index,
        processes=accelerator.num_processes,
        seed=settings.seed,
    )
    loader = source_loader(images, sources, batches, workers=settings.num_workers)
    report.say_batch(display, settings, processes=accelerator.num_processes, steps_per_epoch=len(batches))

    # a new run, or one to go on with
    scheduler = training.build_scheduler(optimizer, settings, steps_per_epoch=len(batches))
    model, optimizer = accelerator.prepare(model, optimizer)
    step = training.ContrastiveStep(
        accelerator, views, model, Objective(settings), settings.grad_cache_chunk, settings.channels_last
    )
    parts = training.Training(accelerator, batches, loader, model, step, optimizer, scheduler)
    progress = training.start_progress(
        accelerator, resume=settings.resume, output_dir=run, steps_per_epoch=len(batches)
    )
    report.open_run(run, settings, accelerator)
    journal = report.Journal(run, progress.step, accelerator)

    def score(what: str) -> None:
        if accelerator.is_main_process:
            scores = score_encoder(
                encoder,
                collection,
                images,
                sources,
                held_out,
                size=settings.image_size,
                device=accelerator.device,
            )
            report.record_scores(scores, what, journal, progress.step, display)
        accelerator.wait_for_everyone()

    if progress.step == 0:
        score("untrained encoder")
        if accelerator.is_main_process:
            shown = collate_sources([images[i] for i in sources[:8]])
            report.save_views(run / "views.png", shown, views)

    # train, epoch by epoch
    last_step = settings.epochs * len(batches)
    if settings.max_steps:
        last_step = min(last_step, settings.max_steps)
    with display.training(progress.step, last_step) as show, training.stop_on_signals() as stop:

        def record(metrics: report.StepMetrics) -> None:
            show(metrics)
            journal.append(dataclasses.asdict(metrics))

        stopped = False
        while progress.step < last_step and not stopped:
            stopped = training.train_epoch(parts, settings, progress, last_step, stop, record)
            epoch, into_epoch = divmod(progress.step, len(batches))
            ended = stopped or progress.step == last_step
            if ended or (into_epoch == 0 and epoch % settings.checkpoint_every == 0):
                training.save_checkpoint(accelerator, run / "checkpoints", progress)
            if settings.eval_every and into_epoch == 0 and epoch % settings.eval_every == 0 and not ended:
                score(f"after epoch {epoch}")
    if stopped:
        display.say(f"stopped after step {progress.step:,}; go on with --resume {run}")
        return 128 + (stop.number or signal.SIGTERM)

    # what it was for
    score("pre-trained encoder")
    if accelerator.is_main_process:
        ids = [collection.records[i].id for i in sources]
        training.export_encoder(encoder, run / "encoder", image_size=settings.image_size, source_ids=ids)
        summary = report.summarize(
            journal,
            parts,
            progress,
            views=settings.views,
            seconds=time.perf_counter() - launched,
            held_out=len(held_out),
            skipped=len(images.skipped),
        )
        report.write_summary(summary, run)
        report.say_summary(display, summary, run)
    accelerator.end_training()
    return 0


if __name__ == "__main__":
    report.run_recipe(main)
