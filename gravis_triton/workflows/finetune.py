"""Fine-tune an encoder: the supervised workflow shared by all tasks."""

import math
import signal
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler

import gravis_triton.report as report
import gravis_triton.training as training
from gravis_triton.data import Annotation, Collection, split_fingerprint, write_split
from gravis_triton.data.loading.prepare import open_annotated
from gravis_triton.errors import Interrupted
from gravis_triton.inference import Predictor, save_predictor, weights_hash
from gravis_triton.models import (
    FinetunedNetwork,
    OpenedEncoder,
    Preprocessing,
    from_published_weights,
    model_args,
    open_encoder,
)
from gravis_triton.report.page import write_run_page
from gravis_triton.run_directory import RunDirectory
from gravis_triton.settings import FinetuneSettings, default_image_size, resolve_finetune
from gravis_triton.views import LabeledView
from gravis_triton.workflows.annotated import AnnotatedData, load_annotated
from gravis_triton.workflows.launch import Launch, launch, open_run


class Task(ABC):
    """What differs between classification and segmentation."""

    name: str
    annotation: Annotation
    test_scores: tuple[str, ...]
    """Names of the scores of `test` to print."""

    @abstractmethod
    def build_network(
        self, opened: OpenedEncoder, image_size: int, collection: Collection
    ) -> FinetunedNetwork:
        """The network on top of the encoder."""

    @abstractmethod
    def build_loss(self, data: AnnotatedData) -> nn.Module:
        """The loss of (predictions, targets)."""

    @abstractmethod
    def build_loader(self, data: AnnotatedData, batches: Sampler[list[int]], workers: int) -> DataLoader[Any]:
        """The loader of the training images with their annotations."""

    @abstractmethod
    def make_example(self, view: LabeledView, batch: Any) -> tuple[Tensor, Tensor]:
        """Turn a batch of the loader into views and targets."""

    @abstractmethod
    def build_predictor(
        self, network: nn.Module, preprocess: Preprocessing, collection: Collection, *, tta: bool
    ) -> Any:
        """Wrap the network as a predictor for whole images."""

    @abstractmethod
    def validate(self, predictor: Any, data: AnnotatedData) -> dict[str, float]:
        """Scores on the validation set; the first that is not NaN selects the weights."""

    @abstractmethod
    def test(
        self, predictor: Any, data: AnnotatedData, run: RunDirectory, *, caption: str
    ) -> dict[str, float]:
        """Scores on the test set; writes predictions, per-image scores and figures with the caption."""


@dataclass(frozen=True, slots=True)
class FinetuneResult:
    """directory: run directory. model: directory for `gravis_triton.load`. scores: test scores by name; empty in all
    processes but the first. validation_score: of the best checkpoint, which is the one tested."""

    directory: Path
    model: Path
    scores: Mapping[str, float]
    validation_score: float


def finetune(settings: FinetuneSettings, task: Task) -> FinetuneResult:
    """Fine-tune an encoder for a task, select the weights on the validation set, and score them on the test set.

    Call it in every process of a distributed launch. Raises UserError for anything the user can fix, and Interrupted
    if a signal stopped it; the run can then be resumed.
    """
    job = launch(settings, name=task.name)
    accelerator, display, run = job.accelerator, job.display, job.run
    training.check_optimizer(settings.optimization.opt)

    # the pre-trained encoder, and the network on top of it
    training.seed_step(settings.run.seed, 0, 0)  # the same weights in every process
    opened = open_encoder(
        settings.encoder.encoder,
        model=settings.encoder.model,
        image_size=settings.encoder.image_size,
        default_size=default_image_size(settings.data),
    )
    display.print(opened.loaded)
    settings = resolve_finetune(settings, image_size=opened.image_size)
    collection = open_annotated(settings.data, seed=settings.run.seed, annotation=task.annotation)
    network = task.build_network(opened, opened.image_size, collection)
    if _freezes_statistics(settings, opened):
        network.freeze_statistics()
    if network.description:
        display.print(network.description)

    # annotated images: training, validation and test sets
    data = load_annotated(
        collection, settings, job, annotation=task.annotation, pretrained_on=opened.image_ids
    )

    # training
    preprocess = _preprocessing(opened, settings)
    finetuning = _start(settings, task, job, opened, network, data, preprocess)
    report.print_step(display, finetuning)
    finished = finetuning.state.step >= finetuning.last_step
    open_run(run, settings, accelerator, finished=finished)
    if accelerator.is_main_process:
        write_split(data.split, data.collection, run.split)

    def validate(network: nn.Module) -> dict[str, float]:
        return task.validate(task.build_predictor(network, preprocess, data.collection, tta=False), data)

    _train(finetuning, validate, job)

    # test the best checkpoint
    scores: dict[str, float] = {}
    if accelerator.is_main_process:
        network.load_state_dict(finetuning.best.weights)
        predictor: Predictor = task.build_predictor(
            network, preprocess, data.collection, tta=settings.evaluation.tta
        )
        save_predictor(
            predictor,
            run.model,
            architecture=opened.architecture,
            decoder=getattr(task, "decoder", None),
            model_args=model_args(opened.encoder),
        )
        caption = report.caption_of(
            opened.architecture, settings.encoder.encoder, f"fine-tuned for {task.name}", collection.name
        )
        scores = task.test(predictor, data, run, caption=caption)
        report.write_finetune_summary(
            run.summary,
            finetuning,
            scores,
            collection=data.collection,
            split=data.split,
            seconds=job.seconds(),
        )
        write_run_page(run)
        step = finetuning.state.step
        accelerator.log({f"test_{name}": value for name, value in scores.items()}, step=step)
        report.log_pictures(accelerator, run, step)
        printed = {name: scores[name] for name in task.test_scores}
        report.print_test_scores(display, printed, len(data.split.test))
        report.print_finished(display, finetuning, run)
    accelerator.wait_for_everyone()
    training.end_trackers(accelerator)
    return FinetuneResult(run.path, run.model, scores, finetuning.best.score)


def _freezes_statistics(settings: FinetuneSettings, opened: OpenedEncoder) -> bool:
    statistics = settings.optimization.bn_statistics
    return from_published_weights(opened.encoder) if statistics == "auto" else statistics == "frozen"


def _preprocessing(opened: OpenedEncoder, settings: FinetuneSettings) -> Preprocessing:
    cache_size = settings.data.cache_size
    assert cache_size is not None  # resolved
    return Preprocessing.of(opened.encoder, image_size=opened.image_size, cache_size=cache_size)


def _start(
    settings: FinetuneSettings,
    task: Task,
    job: Launch,
    opened: OpenedEncoder,
    network: FinetunedNetwork,
    data: AnnotatedData,
    preprocess: Preprocessing,
) -> training.FinetuningRun:
    """Set up batches, views, loss, optimizer and schedule, at step 0 or at the checkpoint to resume."""
    workers = settings.data.num_workers
    assert workers is not None  # resolved
    view = LabeledView(
        settings.augmentation, size=preprocess.image_size, mean=preprocess.mean, std=preprocess.std
    ).to(job.accelerator.device)
    batches = training.finetune_batches(len(data.split.train), settings, job.accelerator)
    return training.start_finetuning(
        job.accelerator,
        settings,
        job.run,
        network=network,
        encoder=opened.encoder,
        batches=batches,
        loader=task.build_loader(data, batches, workers),
        examples=lambda batch: task.make_example(view, batch),
        images=split_fingerprint(data.split, data.collection, weights_hash(opened.encoder)),
        loss=task.build_loss(data),
        notify=job.display.print,
    )


def _train(finetuning: training.FinetuningRun, validate: Any, job: Launch) -> None:
    """Train to the end, logging metrics and validation scores. Raises Interrupted if a signal stops it."""
    state = finetuning.state
    metric_logger = report.MetricLogger(job.run.metrics, state.step, job.accelerator)

    def validation_score(network: nn.Module) -> float:
        scores = validate(network)
        report.log_validation(scores, metric_logger, state.step, job.display)
        return next((score for score in scores.values() if not math.isnan(score)), math.nan)

    with (
        job.display.training(state.step, finetuning.last_step) as show,
        training.stop_on_signals() as stop,
    ):

        def record(metrics: dict[str, Any]) -> None:
            show(metrics)
            metric_logger.log(metrics)

        stopped = training.train_and_validate(
            finetuning, validate=validation_score, directory=job.run, stop=stop, on_metrics=record
        )
    if stopped:
        raise Interrupted(
            f"stopped after step {state.step:,}; resume with --resume {job.run}",
            stop.number or signal.SIGTERM,
        )
