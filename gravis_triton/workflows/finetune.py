"""Fine-tune an encoder for a task, and test the best checkpoint."""

import math
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from accelerate.utils import broadcast_object_list
from torch import Tensor, nn

from gravis_triton.data import split_fingerprint, write_split
from gravis_triton.data.loading.prepare import open_annotated
from gravis_triton.data.loading.sampler import EpochBatches
from gravis_triton.inference.saved_model import save_predictor
from gravis_triton.models import from_published_weights, weights_hash
from gravis_triton.report import console
from gravis_triton.report.figures import caption_of
from gravis_triton.report.metric_logger import MetricLogger
from gravis_triton.settings.defaults import complete
from gravis_triton.settings.jobs import ClassificationSettings, FinetuneSettings, SegmentationSettings
from gravis_triton.tasks.base import Task, parameter_groups
from gravis_triton.tasks.classification import ClassificationTask
from gravis_triton.tasks.segmentation import SegmentationTask
from gravis_triton.training.checkpoint import TrainState, save_checkpoint
from gravis_triton.training.engine import Training
from gravis_triton.training.optimizers import check_optimizer
from gravis_triton.training.setup import end_trackers
from gravis_triton.workflows.annotated import load_annotated, summarize_subgroups, write_summary
from gravis_triton.workflows.job import JobContext, create_run_dir, open_initial_encoder, setup_job, train_epochs

_MAX_VALIDATIONS = 10  # by default


@dataclass(frozen=True, slots=True)
class FinetuneResult:
    """directory: run directory. model: directory for `gravis_triton.load`. scores: test scores by name; empty in all
    processes but the first. validation_score: of the best checkpoint, which is the one tested."""

    directory: Path
    model: Path
    scores: Mapping[str, float]
    validation_score: float


def finetune_classification(settings: ClassificationSettings) -> FinetuneResult:
    """Fine-tune an encoder for disease classification; see `finetune`."""
    return finetune(settings, ClassificationTask)


def finetune_segmentation(settings: SegmentationSettings) -> FinetuneResult:
    """Fine-tune an encoder for lesion segmentation; see `finetune`."""
    return finetune(settings, SegmentationTask)


def finetune(settings: FinetuneSettings, task_class: type[Task]) -> FinetuneResult:
    """Fine-tune an encoder for a task, select the weights on the validation set, and score them on the test set.

    Call it in every process of a distributed launch. Raises UserError for anything the user can fix, and Interrupted
    if a signal stopped it; the run can then be resumed.
    """
    job = setup_job(settings, name=task_class.name)
    check_optimizer(settings.opt)

    # the pre-trained encoder, and the network on top of it
    opened = open_initial_encoder(settings, job.display, seed=settings.seed)
    settings = complete(settings, image_size=opened.image_size)
    settings = replace(settings, mixed_precision=job.accelerator.mixed_precision)
    collection = open_annotated(settings, seed=settings.seed, annotation=task_class.annotation)
    network = task_class.build_network(opened.encoder, settings, collection)
    if network.description:
        job.display.print(network.description)
    statistics = settings.bn_statistics
    if settings.freeze_encoder:
        network.freeze("encoder")
    elif statistics == "frozen" or (statistics == "auto" and from_published_weights(opened.encoder)):
        network.freeze("statistics")

    # annotated images: training, validation and test sets
    data = load_annotated(collection, settings, job, annotation=task_class.annotation, pretrained_on=opened.image_ids)
    task = task_class(network, data, settings)

    best = BestWeights()
    training = start(settings, job, task, opened.encoder, best)
    train(settings, job, task, training, best)
    scores = test(settings, job, task, training.state, best)
    end_trackers(job.accelerator)
    return FinetuneResult(job.run.path, job.run.model, scores, best.score)


@dataclass
class BestWeights:
    """The weights with the highest validation score so far; part of every checkpoint.

    step: at which they were reached. last_validated_step: of the latest validation. validations_without_improvement:
    number of validations since the best one.
    """

    score: float = -math.inf
    step: int = 0
    last_validated_step: int = 0
    validations_without_improvement: int = 0
    weights: dict[str, Tensor] = field(default_factory=dict)

    def update(self, score: float, step: int, network: nn.Module) -> None:
        """Keep the network's weights if the score is the highest so far; the first ones are kept even for NaN."""
        self.last_validated_step = step
        if not self.weights or score > self.score or (math.isnan(self.score) and not math.isnan(score)):
            self.score, self.step, self.validations_without_improvement = score, step, 0
            self.weights = {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}
        else:
            self.validations_without_improvement += 1

    def state_dict(self) -> dict[str, Any]:
        return dict(vars(self))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        vars(self).update(state)


def start(settings: FinetuneSettings, job: JobContext, task: Task, encoder: nn.Module, best: BestWeights) -> Training:
    """Training of a task, ready in all processes: a new run, or one to resume.

    encoder: the timm backbone of the task's network. The number of epochs is the one in the settings, or more if that
    gives fewer than `min_steps` steps. Raises UserError as `Training` does.
    """
    accelerator, processes = job.accelerator, job.accelerator.num_processes
    split, images = task.data.split, len(task.train_indices)
    assert settings.epochs is not None  # resolved
    size, process = max(1, min(settings.batch_size, images // processes)), accelerator.process_index
    batches = EpochBatches(images, batch_size=size, process=process, processes=processes, seed=settings.seed)
    training = Training(
        accelerator,
        task,
        settings,
        job.run,
        batches=batches,
        loader=task.train_loader(batches, settings.workers),
        steps=max(settings.epochs, math.ceil(settings.min_steps / len(batches))) * len(batches),
        fingerprint=split_fingerprint(split, task.data.collection, weights_hash(encoder)),
        states={"best": best},
        parameter_groups=parameter_groups(
            task.network, encoder, weight_decay=settings.weight_decay, layer_decay=settings.layer_decay
        ),
    )
    if repeated := images - len(split.train):
        job.display.print(f"oversampling: {repeated:,} repeated images of rare classes in an epoch")
    console.print_step(job.display, training)
    return training


def train(settings: FinetuneSettings, job: JobContext, task: Task, training: Training, best: BestWeights) -> None:
    """Train to the last step, or until the validation score has not improved for `patience` validations.

    Raises Interrupted if a signal stops it; the checkpoint is written.
    """
    accelerator, run, display, state = job.accelerator, job.run, job.display, training.state
    every = settings.eval_every or math.ceil(training.steps / len(training.batches) / _MAX_VALIDATIONS)
    create_run_dir(run, settings, accelerator, finished=state.step >= training.last_step)
    if accelerator.is_main_process:
        write_split(task.data.split, task.data.collection, run.split)
    metric_logger = MetricLogger(run.metrics, state.step, accelerator)

    def validate() -> None:
        score = math.nan
        if accelerator.is_main_process:
            scores = task.validate()
            label = f"validation after step {state.step:,}"
            console.log_scores(scores, label, metric_logger, state.step, display, prefix="validation")
            score = next((score for score in scores.values() if not math.isnan(score)), math.nan)
        best.update(float(broadcast_object_list([score])[0]), state.step, task.evaluated)

    def stop_without_improvement() -> None:
        if settings.patience is not None and best.validations_without_improvement >= settings.patience:
            training.last_step = state.step

    stop_without_improvement()
    with closing(train_epochs(job, training, metric_logger)) as epochs:
        for ended in epochs:
            is_due = state.ends_epoch and state.epoch % every == 0
            if is_due:
                validate()
            if is_due or ended:
                save_checkpoint(accelerator, run.checkpoints, state, training.states)
            stop_without_improvement()
    if best.last_validated_step != state.step:
        validate()  # not in the checkpoint: a run resumed from it with more epochs would not validate here


def test(
    settings: FinetuneSettings, job: JobContext, task: Task, state: TrainState, best: BestWeights
) -> dict[str, float]:
    """Save and test the best weights, in the first process; returns the scores there."""
    accelerator, run, display, data = job.accelerator, job.run, job.display, task.data
    scores: dict[str, float] = {}
    if accelerator.is_main_process:
        task.evaluated.load_state_dict(best.weights)
        predictor = task.predictor(tta=settings.tta)
        save_predictor(predictor, run.model)
        caption = caption_of(
            task.network.architecture, settings.encoder, f"fine-tuned for {task.name}", data.collection.name
        )
        scores = task.test(predictor, run, caption=caption)
        summary = {
            **scores,
            "subgroups": summarize_subgroups(data, job),
            "validation_score": best.score,
            "best_step": best.step,
            "steps": state.step,
            "processes": state.processes,
        }
        write_summary(summary, data, job, {f"test_{name}": value for name, value in scores.items()}, step=state.step)
        printed = console.format_scores({name: scores[name] for name in task.main_scores})
        display.print(f"test ({len(data.split.test):,} images): {printed}")
        display.print(f"best checkpoint: step {best.step:,} of {state.step:,}, validation score {best.score:.3f}")
        display.print(f"scores, predictions, figures, model: {run}")
        display.print(f"predict: gravis predict {run} IMAGES, or gravis_triton.load('{run}').predict(image)")
    accelerator.wait_for_everyone()
    return scores
