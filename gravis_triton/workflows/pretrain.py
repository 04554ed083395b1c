"""Pre-train an image encoder."""

import signal
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

import gravis_triton.training as training
from gravis_triton.data.loading.loader import ImageBatch
from gravis_triton.data.loading.pretraining import PretrainingData, cached_data, streamed_data
from gravis_triton.data.loading.streaming import StreamedBatches
from gravis_triton.errors import Interrupted
from gravis_triton.evaluation.examples import find_examples, write_examples
from gravis_triton.evaluation.knn import MAX_SCORED_IMAGES, KnnScores, score_encoder
from gravis_triton.files import write_json
from gravis_triton.methods import Method, find_method
from gravis_triton.models import eval_mode, normalization
from gravis_triton.report import console
from gravis_triton.report.figures import write_views
from gravis_triton.report.metric_logger import MetricLogger, log_images
from gravis_triton.settings import DEFAULT_MODEL, PretrainSettings, resolve_pretrain
from gravis_triton.views import ViewMaker
from gravis_triton.workflows.job import JobContext, create_run_dir, open_initial_encoder, setup_job
from gravis_triton.workflows.runs import write_run_report

_PREVIEW, _HEAT_MAPS = 8, 4  # images whose views, and whose views' similarities are shown


@dataclass(frozen=True, slots=True)
class PretrainResult:
    """directory: run directory. encoder: directory of the pre-trained encoder in timm's format. summary: scores and
    speed; None in all processes but the first."""

    directory: Path
    encoder: Path
    summary: console.PretrainSummary | None


def pretrain(settings: PretrainSettings) -> PretrainResult:
    """Pre-train an encoder on unlabeled images by a self-supervised method, GraVIS by default.

    Call it in every process of a distributed launch. Raises UserError for anything the user can fix, and Interrupted
    if a signal stopped it; the run can then be resumed.
    """
    job = setup_job(settings, name=f"{settings.model or DEFAULT_MODEL}-{settings.method}")
    accelerator, display, run = job.accelerator, job.display, job.run
    settings, method = build_method(settings, job)
    data = load_data(settings, job)
    parts, state, checkpointed = start_training(settings, job, method, data)
    last_step = min(parts.steps, settings.max_steps or parts.steps)
    create_run_dir(run, settings, accelerator, finished=state.step >= last_step)
    metric_logger = MetricLogger(run.metrics, state.step, accelerator)

    def evaluate(whole: Method, name: str, *, at_most: int = settings.eval_images, key: str = "knn") -> None:
        if accelerator.is_main_process:
            with display.task(f"evaluating: {name}") as on_progress:
                scores = _score(whole, data, accelerator.device, at_most, on_progress)
            if scores is not None:
                values = {"balanced_accuracy": scores.balanced_accuracy, "mean_auc": scores.mean_auc}
                label = f"{name}: kNN on {scores.images:,} validation images"
                console.log_scores(values, label, metric_logger, state.step, display, prefix=key)

    with parts.full_weights() as whole:
        if state.step == 0:
            if settings.evaluate:
                evaluate(whole, "untrained encoder")
            if accelerator.is_main_process:
                write_views(run.views, *_preview(whole, data, accelerator.device))
                log_images(accelerator, run, state.step)
        elif settings.evaluate and _is_due(state, settings) and not metric_logger.has("knn_mean_auc", state.step):
            evaluate(whole, f"after epoch {state.epoch}")  # the run was killed between the checkpoint and this
    accelerator.wait_for_everyone()

    stopped = False
    with display.training(state.step, last_step) as show, training.stop_on_signals() as stop:

        def on_metrics(metrics: Mapping[str, float]) -> None:
            views_per_second = metrics["images_per_second"] * settings.views
            line = {**metrics, "views_per_second": views_per_second}
            show(line)
            metric_logger.log(line)

        while state.step < last_step and not stopped:
            stopped = training.train_epoch(parts, state, last_step, stop, on_metrics)
            ended = stopped or state.step == last_step
            if ended or (state.ends_epoch and state.epoch % settings.checkpoint_every == 0):
                training.save_checkpoint(accelerator, run.checkpoints, state, checkpointed)
            if _is_due(state, settings) and not ended:
                with parts.full_weights() as whole:
                    evaluate(whole, f"after epoch {state.epoch}")
                accelerator.wait_for_everyone()
    if stopped:
        raise Interrupted(
            f"stopped after step {state.step:,}; resume with --resume {run}", stop.number or signal.SIGTERM
        )

    with parts.full_weights() as whole:
        if settings.evaluate:
            evaluate(whole, "pre-trained encoder")
            if any(len(part) > settings.eval_images for part in data.labeled()):
                evaluate(whole, "pre-trained encoder, all images", at_most=MAX_SCORED_IMAGES, key="knn_all")
        summary = _write_results(settings, job, whole, data, parts, state, metric_logger)
    training.end_trackers(accelerator)
    return PretrainResult(run.path, run.encoder, summary)


def _score(
    method: Method, data: PretrainingData, device: torch.device, at_most: int, on_progress: Callable[[int, int], None]
) -> KnnScores | None:
    """kNN scores of the encoder so far, or None without labels."""
    size, parts = method.view_maker.size, data.for_evaluation()
    return score_encoder(method.encoder, *parts, size=size, device=device, at_most=at_most, progress=on_progress)


def build_method(settings: PretrainSettings, job: JobContext) -> tuple[PretrainSettings, Method]:
    """The method around the encoder to start from, with the same weights in every process, and the settings with all
    defaults filled in.

    Raises UserError as `open_encoder` does, for conflicting settings, and for an encoder that could not be exported.
    """
    start = replace(settings, encoder="imagenet") if settings.pretrained else settings
    opened = open_initial_encoder(start, job.display, seed=settings.seed)
    settings = resolve_pretrain(settings, model=opened.architecture, image_size=opened.image_size)
    mean, std = normalization(opened.encoder)
    view_maker = ViewMaker(settings, size=opened.image_size, mean=mean, std=std)
    method = find_method(settings.method)(opened.encoder, view_maker, settings)
    training.check_export(method.encoder, image_size=opened.image_size)
    return replace(method.settings, mixed_precision=job.accelerator.mixed_precision), method


def load_data(settings: PretrainSettings, job: JobContext) -> PretrainingData:
    """The images, decoded once or streamed; validation images are not trained on."""
    open_data = streamed_data if settings.streaming else cached_data
    accelerator, display = job.accelerator, job.display
    with accelerator.local_main_process_first(), display.task("decoding images") as decoding:
        data = open_data(
            settings, process=accelerator.process_index, processes=accelerator.num_processes, progress=decoding
        )
    console.print_data(display, data.description, data.collection.notes, data.skipped)
    return data


def start_training(
    settings: PretrainSettings, job: JobContext, method: Method, data: PretrainingData
) -> tuple[training.Training, training.TrainState, Mapping[str, training.Stateful]]:
    """Prepare a method, its optimizer and schedule for all processes; a new run, or one to resume.

    Also returns what checkpoints contain besides the method and the optimizer. Raises UserError for an optimizer that
    is unknown or does not fit, and as `start_or_resume` does.
    """
    accelerator, batches = job.accelerator, data.batches
    steps = total_steps(settings, accelerator.num_processes, steps_per_epoch=len(batches))
    parts = training.build_training(accelerator, method, settings, batches=batches, loader=data.loader, steps=steps)
    checkpointed = {"stream": batches} if isinstance(batches, StreamedBatches) else {}
    state = training.start_or_resume(
        accelerator,
        resume=settings.resume,
        run=job.run,
        steps_per_epoch=len(batches),
        optimizer=parts.optimizer,
        fingerprint=data.fingerprint,
        states=checkpointed,
        notify=job.display.print,
    )
    views, image_size = settings.views, settings.image_size
    console.print_step(job.display, parts, views=views, image_size=image_size)
    return parts, state, checkpointed


def total_steps(settings: PretrainSettings, processes: int, *, steps_per_epoch: int) -> int:
    """Number of optimizer steps in all epochs, or for --total-views views."""
    if settings.total_views is None:
        assert settings.epochs is not None  # resolved
        return settings.epochs * steps_per_epoch
    return max(1, round(settings.total_views / (settings.batch_size * settings.views * processes)))


def _is_due(state: training.TrainState, settings: PretrainSettings) -> bool:
    """Whether the settings ask for an evaluation at this step."""
    return settings.eval_every is not None and state.ends_epoch and state.epoch % settings.eval_every == 0


def _write_results(
    settings: PretrainSettings,
    job: JobContext,
    method: Method,
    data: PretrainingData,
    parts: training.Training,
    state: training.TrainState,
    metric_logger: MetricLogger,
) -> console.PretrainSummary | None:
    """Write encoder, summary, examples and page in the first process; returns the summary there."""
    accelerator, display, run = job.accelerator, job.display, job.run
    ids, skipped = data.trained_images()
    summary = None
    if accelerator.is_main_process:
        training.export_encoder(method.encoder, run.encoder, image_size=method.view_maker.size, image_ids=ids)
        summary = console.summarize(
            metric_logger,
            parts,
            state,
            views=settings.views,
            seconds=job.seconds(),
            validation_images=len(data.validation),
            skipped=len(skipped),
        )
        write_examples(_find_examples(method, data, accelerator.device), run.examples)
        write_json(run.summary, asdict(summary))
        write_run_report(run)
        console.print_summary(display, summary, run)
        if settings.streaming:
            console.print_skipped(display, skipped)
    accelerator.wait_for_everyone()
    return summary


def _preview(method: Method, data: PretrainingData, device: torch.device) -> tuple[list[np.ndarray], np.ndarray]:
    """The first images, (height, width, 3) each, and their views, (images, views, size, size, 3), all uint8."""
    batch = ImageBatch(*(part[:_PREVIEW].to(device) for part in data.preview))
    maker = method.view_maker
    views = maker(batch.images, batch.image_sizes) * maker.std + maker.mean
    pixels = (views.clamp(0, 1) * 255).round().byte().movedim(2, -1).cpu().numpy()
    return batch.unpadded(), pixels


@torch.no_grad()
def _find_examples(method: Method, data: PretrainingData, device: torch.device) -> dict[str, np.ndarray]:
    """Example images for the report: views, neighbors, map."""
    batch = ImageBatch(*(part[:_HEAT_MAPS].to(device) for part in data.preview))
    with eval_mode(method):
        embeddings = method.embed(method.view_maker(batch.images, batch.image_sizes)).cpu()
    return find_examples(
        method.encoder,
        *data.for_evaluation(),
        embeddings,
        attention_temperature=method.attention_temperature,
        size=method.view_maker.size,
        device=device,
    )
