"""Pre-train an image encoder."""

from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from gravis_triton.data.loading.loader import ImageBatch
from gravis_triton.data.loading.pretraining import PretrainingData, cached_data, streamed_data
from gravis_triton.data.loading.streaming import StreamedBatches
from gravis_triton.evaluation.examples import find_examples, write_examples
from gravis_triton.evaluation.knn import MAX_SCORED_IMAGES, score_encoder
from gravis_triton.files import write_json
from gravis_triton.methods import Method, find_method
from gravis_triton.models import eval_mode, normalization
from gravis_triton.report import console
from gravis_triton.report.figures import write_views
from gravis_triton.report.metric_logger import MetricLogger, log_images
from gravis_triton.report.run_page import write_run_page
from gravis_triton.settings.defaults import chosen_model, complete
from gravis_triton.settings.jobs import PretrainSettings
from gravis_triton.training.checkpoint import check_export, export_encoder, save_checkpoint
from gravis_triton.training.engine import Training
from gravis_triton.training.setup import end_trackers
from gravis_triton.views import ViewMaker
from gravis_triton.workflows.job import JobContext, create_run_dir, open_initial_encoder, setup_job, train_epochs

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
    job = setup_job(settings, name=f"{chosen_model(settings) or 'continued'}-{settings.method}")
    accelerator, display, run = job.accelerator, job.display, job.run
    settings, method = build_method(settings, job)
    data = load_data(settings, job)
    training = start(settings, job, method, data)
    state = training.state
    create_run_dir(run, settings, accelerator, finished=state.step >= training.last_step)
    metric_logger = MetricLogger(run.metrics, state.step, accelerator)

    def is_due() -> bool:
        return settings.eval_every is not None and state.ends_epoch and state.epoch % settings.eval_every == 0

    def evaluate(whole: Method, name: str, *, at_most: int = settings.eval_images, key: str = "knn") -> None:
        if not accelerator.is_main_process:
            return
        size, device = whole.view_maker.size, accelerator.device
        with display.task(f"evaluating: {name}") as progress:
            scores = score_encoder(
                whole.encoder, *data.for_evaluation(), size=size, device=device, at_most=at_most, progress=progress
            )
        if scores is not None:
            values = {"balanced_accuracy": scores.balanced_accuracy, "mean_auc": scores.mean_auc}
            label = f"{name}: kNN on {scores.images:,} validation images"
            console.log_scores(values, label, metric_logger, state.step, display, prefix=key)

    # the encoder before training
    with training.full_weights() as whole:
        if state.step == 0:
            if settings.evaluate:
                evaluate(whole, "untrained encoder")
            if accelerator.is_main_process:
                write_views(run.views, *_preview(whole, data, accelerator.device))
                log_images(accelerator, run, state.step)
        elif is_due() and not metric_logger.has("knn_mean_auc", state.step):
            evaluate(whole, f"after epoch {state.epoch}")  # the run was killed between the checkpoint and this
    accelerator.wait_for_everyone()

    with closing(train_epochs(job, training, metric_logger, views=settings.views)) as epochs:
        for ended in epochs:
            if ended or (state.ends_epoch and state.epoch % settings.checkpoint_every == 0):
                save_checkpoint(accelerator, run.checkpoints, state, training.states)
            if is_due() and not ended:
                with training.full_weights() as whole:
                    evaluate(whole, f"after epoch {state.epoch}")
                accelerator.wait_for_everyone()

    # the pre-trained encoder
    with training.full_weights() as whole:
        if settings.evaluate:
            evaluate(whole, "pre-trained encoder")
            if any(len(part) > settings.eval_images for part in data.labeled()):
                evaluate(whole, "pre-trained encoder, all images", at_most=MAX_SCORED_IMAGES, key="knn_all")
        summary = _write_results(settings, job, whole, data, training, metric_logger)
    end_trackers(accelerator)
    return PretrainResult(run.path, run.encoder, summary)


def build_method(settings: PretrainSettings, job: JobContext) -> tuple[PretrainSettings, Method]:
    """The method around the encoder to start from, with the same weights in every process, and the settings with all
    defaults filled in.

    Raises UserError as `open_encoder` does, for conflicting settings, and for an encoder that could not be exported.
    """
    start = replace(settings, encoder="imagenet") if settings.pretrained else settings
    opened = open_initial_encoder(start, job.display, seed=settings.seed)
    settings = complete(settings, model=opened.architecture, image_size=opened.image_size)
    mean, std = normalization(opened.encoder)
    view_maker = ViewMaker(settings, size=opened.image_size, mean=mean, std=std)
    method = find_method(settings.method)(opened.encoder, view_maker, settings)
    check_export(method.encoder, image_size=opened.image_size)
    return replace(method.settings, mixed_precision=job.accelerator.mixed_precision), method


def load_data(settings: PretrainSettings, job: JobContext) -> PretrainingData:
    """The images, decoded once or streamed; validation images are not trained on."""
    open_data = streamed_data if settings.streaming else cached_data
    accelerator, display = job.accelerator, job.display
    process, processes = accelerator.process_index, accelerator.num_processes
    with accelerator.local_main_process_first(), display.task("decoding images") as decoding:
        data = open_data(settings, process=process, processes=processes, progress=decoding)
    console.print_data(display, data.description, data.collection.notes, data.skipped)
    return data


def start(settings: PretrainSettings, job: JobContext, method: Method, data: PretrainingData) -> Training:
    """Training of a method: a new run, or one to resume. Raises UserError as `Training` does."""
    batches = data.batches
    if settings.total_views is not None:
        views_per_step = settings.batch_size * settings.views * job.accelerator.num_processes
        steps = max(1, round(settings.total_views / views_per_step))
    else:
        assert settings.epochs is not None  # resolved
        steps = settings.epochs * len(batches)
    training = Training(
        job.accelerator,
        method,
        settings,
        job.run,
        batches=batches,
        loader=data.loader,
        steps=steps,
        fingerprint=data.fingerprint,
        states={"stream": batches} if isinstance(batches, StreamedBatches) else {},
    )
    console.print_step(job.display, training, views=settings.views, image_size=settings.image_size)
    return training


def _write_results(
    settings: PretrainSettings,
    job: JobContext,
    method: Method,
    data: PretrainingData,
    training: Training,
    metric_logger: MetricLogger,
) -> console.PretrainSummary | None:
    """Write encoder, summary, examples and page in the first process; returns the summary there."""
    accelerator, display, run = job.accelerator, job.display, job.run
    ids, skipped = data.trained_images()
    summary = None
    if accelerator.is_main_process:
        export_encoder(method.encoder, run.encoder, image_size=method.view_maker.size, image_ids=ids)
        sizes = {"validation_images": len(data.validation), "skipped": len(skipped)}
        summary = console.summarize(metric_logger, training, settings.views, seconds=job.seconds(), **sizes)
        write_examples(_find_examples(method, data, accelerator.device), run.examples)
        write_json(run.summary, asdict(summary))
        write_run_page(run)
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
