"""Pre-train an image encoder with GraVIS."""

import dataclasses
import signal
from dataclasses import dataclass
from pathlib import Path

import torch

import gravis_triton.report as report
import gravis_triton.training as training
from gravis_triton.data.loading.pretraining import PretrainingData, cached_data, streamed_data
from gravis_triton.data.loading.streaming import StreamedBatches
from gravis_triton.errors import Interrupted
from gravis_triton.evaluation import (
    MAX_SCORED_IMAGES,
    Examples,
    find_examples,
    score_encoder,
    write_examples,
)
from gravis_triton.losses import resolve_loss
from gravis_triton.models import eval_mode
from gravis_triton.report.page import write_run_page
from gravis_triton.settings import DEFAULT_MODEL, PretrainSettings, TrainingSettings, resolve_pretrain
from gravis_triton.workflows.contrastive import (
    Networks,
    build_networks,
    open_start,
    prepare_training,
    total_steps,
)
from gravis_triton.workflows.launch import launch, open_run

_HEAT_MAPS = 4  # images whose views' similarities are shown


@dataclass(frozen=True, slots=True)
class PretrainResult:
    """directory: run directory. encoder: directory of the pre-trained encoder in timm's format. summary: scores and
    speed; None in all processes but the first."""

    directory: Path
    encoder: Path
    summary: report.PretrainSummary | None


def pretrain(settings: PretrainSettings) -> PretrainResult:
    """Pre-train an encoder on unlabeled images: group views of the same image, separate views of different images.

    Call it in every process of a distributed launch. Raises UserError for anything the user can fix, and Interrupted
    if a signal stopped it; the run can then be resumed.
    """
    settings = resolve_loss(settings)
    job = launch(settings, name=f"{settings.model.model or DEFAULT_MODEL}-{settings.loss.loss}")
    accelerator, display, run = job.accelerator, job.display, job.run

    # encoder with projection head, and its views
    opened = open_start(settings)
    settings = resolve_pretrain(settings, model=opened.architecture, image_size=opened.image_size)
    image_size, loop, optimization = opened.image_size, settings.training, settings.optimization
    display.print(opened.loaded)
    networks = build_networks(opened.encoder, settings, job)
    training.check_export(networks.encoder, image_size=image_size)

    # images, decoded once or streamed; validation images are not trained on
    open_data = streamed_data if settings.streaming.streaming else cached_data
    with accelerator.local_main_process_first(), display.task("decoding images") as decoding:
        data = open_data(
            settings,
            process=accelerator.process_index,
            processes=accelerator.num_processes,
            progress=decoding,
        )
    batches = data.batches
    report.print_data(display, data)
    report.print_batch(display, settings, processes=accelerator.num_processes, steps_per_epoch=len(batches))

    # a new run, or one to resume
    parts = prepare_training(settings, job, networks, data)
    states = {"readers": batches} if isinstance(batches, StreamedBatches) else {}
    progress = training.start_progress(
        accelerator,
        resume=loop.resume,
        run=run,
        steps_per_epoch=len(batches),
        images=data.fingerprint,
        states=states,
        notify=display.print,
    )
    steps = total_steps(settings, job, steps_per_epoch=len(batches))
    last_step = min(steps, optimization.max_steps or steps)
    open_run(run, settings, accelerator, finished=progress.step >= last_step)
    metric_logger = report.MetricLogger(run.metrics, progress.step, accelerator)

    def score(name: str, *, at_most: int, key: str) -> None:
        with display.task(f"evaluating: {name}") as scoring:
            scores = score_encoder(
                networks.encoder,
                data.collection,
                data.images,
                data.reference,
                data.validation,
                size=image_size,
                device=accelerator.device,
                at_most=at_most,
                progress=scoring,
            )
        report.log_scores(scores, name, metric_logger, progress.step, display, key=key)

    def evaluate(name: str) -> None:
        if accelerator.is_main_process:
            score(name, at_most=loop.eval_images, key="knn")
        accelerator.wait_for_everyone()

    if progress.step == 0:
        if loop.evaluate:
            evaluate("untrained encoder")
        if accelerator.is_main_process:
            report.save_views(run.views, data.preview, networks.views)
            report.log_pictures(accelerator, run, progress.step)

    elif loop.evaluate and _is_due(progress, loop) and not metric_logger.has("knn_mean_auc", progress.step):
        evaluate(
            f"after epoch {progress.step // len(batches)}"
        )  # the run was killed between the checkpoint and this

    # train, epoch by epoch
    with display.training(progress.step, last_step) as show, training.stop_on_signals() as stop:

        def record(metrics: training.StepMetrics) -> None:
            show(metrics)
            metric_logger.log(dataclasses.asdict(metrics))

        stopped = False
        while progress.step < last_step and not stopped:
            stopped = training.train_epoch(parts, progress, last_step, stop, record)
            epoch, into_epoch = divmod(progress.step, len(batches))
            ended = stopped or progress.step == last_step
            if ended or (into_epoch == 0 and epoch % loop.checkpoint_every == 0):
                training.save_checkpoint(accelerator, run.checkpoints, progress, states)
            if _is_due(progress, loop) and not ended:
                evaluate(f"after epoch {epoch}")
    if stopped:
        raise Interrupted(
            f"stopped after step {progress.step:,}; resume with --resume {run}", stop.number or signal.SIGTERM
        )

    # the result: the encoder and its scores
    if loop.evaluate:
        evaluate("pre-trained encoder")
        labeled = [data.collection.annotated("label", part) for part in (data.reference, data.validation)]
        # other processes may have no labels: they wait below
        if accelerator.is_main_process and max(map(len, labeled)) > loop.eval_images:
            score("pre-trained encoder, all images", at_most=MAX_SCORED_IMAGES, key="knn_all")
    ids, skipped = data.seen()
    summary = None
    if accelerator.is_main_process:
        training.export_encoder(networks.encoder, run.encoder, image_size=image_size, image_ids=ids)
        summary = report.summarize(
            metric_logger,
            parts,
            progress,
            views=settings.augmentation.views,
            seconds=job.seconds(),
            validation_images=len(data.validation),
            skipped=len(skipped),
        )
        write_examples(_examples(networks, data, settings, accelerator.device), run.examples)
        report.write_summary(summary, run.summary)
        write_run_page(run)
        report.print_summary(display, summary, run)
        if settings.streaming.streaming:
            report.print_skipped(display, skipped)
    accelerator.wait_for_everyone()
    training.end_trackers(accelerator)
    return PretrainResult(run.path, run.encoder, summary)


@torch.no_grad()
def _examples(
    networks: Networks, data: PretrainingData, settings: PretrainSettings, device: torch.device
) -> Examples:
    """Example images for the report: views, neighbors, map."""
    images, sizes = (part[:_HEAT_MAPS].to(device) for part in data.preview)
    with eval_mode(networks.model):
        views = networks.views(images, sizes)
        embeddings = networks.model(views.flatten(0, 1)).unflatten(0, views.shape[:2]).cpu()
    assert settings.model.image_size is not None  # resolved
    return find_examples(
        networks.encoder,
        data.collection,
        data.images,
        data.reference,
        data.validation,
        embeddings,
        attention_temperature=settings.loss.attention_temperature
        if settings.loss.attention == "softmax"
        else None,
        size=settings.model.image_size,
        device=device,
    )


def _is_due(progress: training.Progress, loop: TrainingSettings) -> bool:
    """Whether the settings ask for an evaluation at this step."""
    epoch, into_epoch = divmod(progress.step, progress.steps_per_epoch)
    return loop.eval_every is not None and into_epoch == 0 and epoch % loop.eval_every == 0
