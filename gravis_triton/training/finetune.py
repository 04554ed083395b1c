"""Fine-tuning: epochs, validation, and the best weights."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.utils.data import DataLoader

from gravis_triton.data.loading.sampler import EpochBatches
from gravis_triton.models import FinetunedNetwork, parameter_groups
from gravis_triton.run_directory import RunDirectory
from gravis_triton.settings import FinetuneSettings
from gravis_triton.training.checkpoint import Stateful, TrainState, save_checkpoint, start_or_resume
from gravis_triton.training.engine import Metrics, Training, train_epoch
from gravis_triton.training.interrupt import StopRequest
from gravis_triton.training.optimizers import build_optimizer, build_scheduler
from gravis_triton.training.setup import prepare_model
from gravis_triton.training.supervised import SupervisedTask

_MAX_VALIDATIONS = 10  # by default


@dataclass(slots=True)
class Best:
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
            self.weights = {
                name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()
            }
        else:
            self.validations_without_improvement += 1

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)


@dataclass(frozen=True, slots=True)
class FinetuningRun:
    """A fine-tuning run: its training components, state, and best weights so far.

    evaluated: the network to validate, save and test: the trained one or its moving average. states: contents of a
    checkpoint besides model and optimizer. last_step: of all epochs, or the step to stop at. validate_every: in
    epochs. patience: in validations; None for no early stopping.
    """

    training: Training
    evaluated: nn.Module
    state: TrainState
    best: Best
    states: Mapping[str, Stateful]
    last_step: int
    validate_every: int
    patience: int | None


def start_finetuning(
    accelerator: Accelerator,
    settings: FinetuneSettings,
    run: RunDirectory,
    *,
    network: FinetunedNetwork,
    encoder: nn.Module,
    batches: EpochBatches,
    loader: DataLoader[Any],
    examples: Callable[[Any], tuple[Tensor, Tensor]],
    loss: nn.Module,
    images: str,
    notify: Callable[[str], None],
) -> FinetuningRun:
    """Build optimizer, schedule and moving average of a network on `encoder`; load the checkpoint to resume, if any.

    examples, loss: see `SupervisedTask`. images: fingerprint of the training, validation and test images. notify:
    prints a line. The number of epochs is the one in the settings, or more if that gives fewer than `min_steps` steps.
    """
    loop, optimization = settings.training, settings.optimization
    assert optimization.epochs is not None  # resolved
    epochs = max(optimization.epochs, math.ceil(optimization.min_steps / len(batches)))
    steps = epochs * len(batches)
    if optimization.freeze_encoder:
        network.freeze_encoder()
    task = prepare_model(
        SupervisedTask(network, examples, loss),
        accelerator,
        channels_last=loop.channels_last,
        compile=loop.compile,
    )
    groups = parameter_groups(
        network, encoder, weight_decay=optimization.weight_decay, layer_decay=optimization.layer_decay
    )
    plain_optimizer = build_optimizer(groups, optimization)
    scheduler = build_scheduler(plain_optimizer, optimization, steps=steps, steps_per_epoch=len(batches))
    model, optimizer = accelerator.prepare(task, plain_optimizer)
    training = Training(
        accelerator=accelerator,
        batches=batches,
        loader=loader,
        model=model,
        optimizer=optimizer,
        scheduler=scheduler,
        seed=settings.run.seed,
        steps=steps,
        log_every=loop.log_every,
        max_bad_steps=loop.max_bad_steps,
        clip_grad=optimization.clip_grad,
    )

    best = Best()
    average = _averaged(network, decay=optimization.ema) if optimization.ema else None
    states: dict[str, Stateful] = {"best": best} | ({"average": average} if average is not None else {})
    state = start_or_resume(
        accelerator,
        resume=loop.resume,
        run=run,
        steps_per_epoch=len(batches),
        optimizer=optimizer,
        fingerprint=images,
        states=states,
        notify=notify,
    )
    if average is not None:
        plain_optimizer.register_step_post_hook(lambda *_: average.update(network, step=state.step))
    return FinetuningRun(
        training=training,
        evaluated=average.module if average else network,
        state=state,
        best=best,
        states=states,
        last_step=min(steps, optimization.max_steps or steps),
        validate_every=loop.eval_every or math.ceil(epochs / _MAX_VALIDATIONS),
        patience=loop.patience,
    )


def finetune_batches(images: int, settings: FinetuneSettings, accelerator: Accelerator) -> EpochBatches:
    """Batches of `batch_size` images per process, or of all images if there are fewer."""
    return EpochBatches(
        images,
        batch_size=max(1, min(settings.optimization.batch_size, images // accelerator.num_processes)),
        process=accelerator.process_index,
        processes=accelerator.num_processes,
        seed=settings.run.seed,
    )


def _averaged(network: nn.Module, *, decay: float) -> ModelEmaV3:
    """An exponential moving average of the network's weights.

    Its decay at step t is min(decay, 1 - t^(-2/3)) (timm's warm-up), so that a short run forgets its random
    initialization.
    """
    return ModelEmaV3(network, decay=decay, use_warmup=True)


def train_and_validate(
    run: FinetuningRun,
    *,
    validate: Callable[[nn.Module], float],
    directory: RunDirectory,
    stop: StopRequest,
    on_metrics: Callable[[Metrics], None],
) -> bool:
    """Train to the last step, or until the validation score has not improved for `patience` validations.

    validate: returns the score of a network on the validation set, higher is better; called in the first process.
    Returns True if a signal stopped it earlier; the checkpoint is written.
    """
    state, best, accelerator = run.state, run.best, run.training.accelerator

    def validate_now() -> None:
        best.update(_score_of_all(accelerator, validate, run.evaluated), state.step, run.evaluated)

    def exhausted() -> bool:
        return run.patience is not None and best.validations_without_improvement >= run.patience

    stopped = False
    while state.step < run.last_step and not stopped and not exhausted():
        stopped = train_epoch(run.training, state, run.last_step, stop, on_metrics)
        epoch, into_epoch = divmod(state.step, state.steps_per_epoch)
        due = into_epoch == 0 and epoch % run.validate_every == 0
        if due:
            validate_now()
        if due or stopped or state.step == run.last_step:
            save_checkpoint(accelerator, directory.checkpoints, state, run.states)
    if stopped and state.step < run.last_step:
        return True
    if best.last_validated_step != state.step:
        validate_now()  # not in the checkpoint: a run resumed from it with more epochs would not validate here
    return False


def _score_of_all(
    accelerator: Accelerator, validate: Callable[[nn.Module], float], network: nn.Module
) -> float:
    """Compute the score in the first process and broadcast it to all."""
    score = validate(network) if accelerator.is_main_process else 0.0
    return float(broadcast_object_list([score])[0])
