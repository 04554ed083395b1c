"""Pre-train an image encoder on dermatology images: `accelerate launch recipes/pretrain.py --help`."""

import dataclasses
import signal
import time
from collections.abc import Sequence

from torch import nn

import gravis_triton.report as report
import gravis_triton.training as training
from gravis_triton.augment import ViewMaker
from gravis_triton.data.sources import cached_sources, streamed_sources
from gravis_triton.evaluation import score_encoder
from gravis_triton.losses import Objective, resolve_loss
from gravis_triton.models import Pretrainer, build_encoder, normalization
from gravis_triton.settings import PretrainSettings, parse_settings, resolve_settings


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

    # source images, decoded once or streamed; those held out are not trained on
    open_sources = streamed_sources if settings.streaming else cached_sources
    with accelerator.local_main_process_first(), display.task("decoding images") as decoding:
        data = open_sources(
            settings,
            process=accelerator.process_index,
            processes=accelerator.num_processes,
            progress=decoding,
        )
    batches = data.batches
    report.say_data(display, data)
    report.say_batch(display, settings, processes=accelerator.num_processes, steps_per_epoch=len(batches))

    # a new run, or one to go on with
    scheduler = training.build_scheduler(optimizer, settings, steps_per_epoch=len(batches))
    model, optimizer = accelerator.prepare(model, optimizer)
    step = training.ContrastiveStep(
        accelerator, views, model, Objective(settings), settings.grad_cache_chunk, settings.channels_last
    )
    parts = training.Training(accelerator, batches, data.loader, model, step, optimizer, scheduler)
    if settings.streaming:
        accelerator.register_for_checkpointing(batches)  # where its readers are in the shards
    progress = training.start_progress(
        accelerator,
        resume=settings.resume,
        output_dir=run,
        steps_per_epoch=len(batches),
        images=data.digest,
    )
    report.open_run(run, settings, accelerator)
    journal = report.Journal(run, progress.step, accelerator)

    def score(what: str) -> None:
        if accelerator.is_main_process:
            scores = score_encoder(
                encoder,
                data.collection,
                data.images,
                data.bank,
                data.held_out,
                size=settings.image_size,
                device=accelerator.device,
            )
            report.record_scores(scores, what, journal, progress.step, display)
        accelerator.wait_for_everyone()

    if progress.step == 0:
        score("untrained encoder")
        if accelerator.is_main_process:
            report.save_views(run / "views.png", data.shown, views)

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
    ids, skipped = data.seen()
    if accelerator.is_main_process:
        training.export_encoder(encoder, run / "encoder", image_size=settings.image_size, source_ids=ids)
        summary = report.summarize(
            journal,
            parts,
            progress,
            views=settings.views,
            seconds=time.perf_counter() - launched,
            held_out=len(data.held_out),
            skipped=len(skipped),
        )
        report.write_summary(summary, run)
        report.say_summary(display, summary, run)
        if settings.streaming:
            report.say_skipped(display, skipped)
    accelerator.end_training()
    return 0


if __name__ == "__main__":
    report.run_recipe(main)
