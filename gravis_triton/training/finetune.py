"""Fine-tuning: epochs, looks at the validation images, and the weights that did best there."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.utils.data import DataLoader

from gravis_triton.data.sampler import EpochBatches
from gravis_triton.models import FinetunedNetwork, parameter_groups
from gravis_triton.settings import FinetuneSettings
from gravis_triton.training.checkpoint import Progress, save_checkpoint, start_progress
from gravis_triton.training.epoch import Training, train_epoch
from gravis_triton.training.interrupt import StopRequest
from gravis_triton.training.metrics import StepMetrics
from gravis_triton.training.setup import build_optimizer, build_scheduler, prepare_model
from gravis_triton.training.supervised import SupervisedStep

_LOOKS = 10  # at most, at the validation images, where the user does not say


@dataclass(slots=True)
class Best:
    """The weights with the highest validation score so far; a checkpoint holds it.

    looked: the step of the last look at the validation images. looks_since: how many looks ago the best one was.
    """

    score: float = -math.inf
    step: int = 0
    looked: int = 0
    looks_since: int = 0
    weights: dict[str, Tensor] = field(default_factory=dict)

    def look(self, score: float, step: int, network: nn.Module) -> None:
        """Take the network's weights if the score is higher than any before; nothing beats no score at all."""
        self.looked = step
        if score > self.score or not self.weights:
            self.score, self.step, self.looks_since = score, step, 0
            self.weights = {
                name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()
            }
        else:
            self.looks_since += 1

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)


@dataclass(frozen=True, slots=True)
class Finetuning:
    """A fine-tuning run: what takes part in training, how far it is, and the best weights so far.

    settings: with the number of epochs that are really trained. evaluated: the network whose weights count: the
    trained one, or its moving average.
    """

    training: Training
    settings: FinetuneSettings
    evaluated: nn.Module
    progress: Progress
    best: Best

    @property
    def last_step(self) -> int:
        steps = self.settings.epochs * self.progress.steps_per_epoch
        return min(steps, self.settings.max_steps) if self.settings.max_steps else steps


def start_finetuning(
    accelerator: Accelerator,
    settings: FinetuneSettings,
    run: Path,
    *,
    network: FinetunedNetwork,
    encoder: nn.Module,
    batches: EpochBatches,
    loader: DataLoader[Any],
    examples: Callable[[Any], tuple[Tensor, Tensor]],
    loss: nn.Module,
    images: str,
) -> Finetuning:
    """Build optimiser, schedule and average of a network on `encoder`; go on from the checkpoint to resume, if any.

    examples, loss: see `SupervisedStep`. images: digest of what is learned from and tested on. There are as many epochs
    as the settings say, or more where these make fewer steps than `min_steps`.
    """
    epochs = max(settings.epochs, math.ceil(settings.min_steps / len(batches)))
    settings = replace(settings, epochs=epochs)
    if settings.freeze_encoder:
        network.freeze_encoder()
    model = prepare_model(
        network, accelerator, channels_last=settings.channels_last, compile=settings.compile
    )
    groups = parameter_groups(
        network, encoder, weight_decay=settings.weight_decay, layer_decay=settings.layer_decay
    )
    plain_optimizer = build_optimizer(groups, settings)
    scheduler = build_scheduler(plain_optimizer, settings, steps_per_epoch=len(batches))
    model, optimizer = accelerator.prepare(model, plain_optimizer)
    step = SupervisedStep(accelerator, model, examples, loss.to(accelerator.device), settings.channels_last)
    training = Training(accelerator, batches, loader, model, step, optimizer, scheduler)

    best = Best()
    accelerator.register_for_checkpointing(best)
    average = _averaged(network, decay=settings.ema) if settings.ema else None
    if average is not None:
        accelerator.register_for_checkpointing(average)
    progress = start_progress(
        accelerator,
        resume=settings.resume,
        output_dir=run,
        steps_per_epoch=len(batches),
        images=images,
    )
    if average is not None:
        plain_optimizer.register_step_post_hook(lambda *_: average.update(network, step=progress.step))
    return Finetuning(training, settings, average.module if average else network, progress, best)


def finetune_batches(images: int, settings: FinetuneSettings, accelerator: Accelerator) -> EpochBatches:
    """Batches of `batch_size` images per process, or of all there are where these are fewer."""
    return EpochBatches(
        images,
        batch_size=max(1, min(settings.batch_size, images // accelerator.num_processes)),
        process=accelerator.process_index,
        processes=accelerator.num_processes,
        seed=settings.seed,
    )


def _averaged(network: nn.Module, *, decay: float) -> ModelEmaV3:
    """A copy of the network that follows its weights as an exponential moving average.

    In step t it keeps min(decay, 1 - t^(-2/3)) of itself (timm's warm-up), so that a short run forgets its random
    beginning.
    """
    return ModelEmaV3(network, decay=decay, use_warmup=True)


def finetune(
    run: Finetuning,
    *,
    look: Callable[[nn.Module], float],
    checkpoints: Path,
    stop: StopRequest,
    report: Callable[[StepMetrics], None],
) -> bool:
    """Train to the last step, or until the validation score has not risen for `patience` looks.

    look: the score of a network on the validation images, the higher the better; called in the first process.
    Returns True if a signal stopped it before; the checkpoint is written.
    """
    settings, progress, best = run.settings, run.progress, run.best
    accelerator = run.training.accelerator
    every = settings.eval_every or math.ceil(settings.epochs / _LOOKS)

    def look_now() -> None:
        best.look(_score_of_all(accelerator, look, run.evaluated), progress.step, run.evaluated)

    def exhausted() -> bool:
        return 0 < settings.patience <= best.looks_since

    stopped = False
    while progress.step < run.last_step and not stopped and not exhausted():
        stopped = train_epoch(run.training, settings, progress, run.last_step, stop, report)
        epoch, into_epoch = divmod(progress.step, progress.steps_per_epoch)
        due = into_epoch == 0 and epoch % every == 0
        if due:
            look_now()
        if due or stopped or progress.step == run.last_step:
            save_checkpoint(accelerator, checkpoints, progress)
    if stopped and progress.step < run.last_step:
        return True
    if (
        best.looked != progress.step
    ):  # not in the checkpoint: a run that goes on from it would not have looked here
        look_now()
    return False


def _score_of_all(accelerator: Accelerator, look: Callable[[nn.Module], float], network: nn.Module) -> float:
    """The first process looks, all of them hear."""
    score = look(network) if accelerator.is_main_process else 0.0
    return float(broadcast_object_list([score])[0])
