"""Individual stages of a pre-training step, and the whole step as in training."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gravis_triton.benchmark.clock import Clock
from gravis_triton.benchmark.view_steps import measure_view_steps
from gravis_triton.data.loading.loader import ImageBatch
from gravis_triton.training import (
    ContrastiveStep,
    Progress,
    StopRequest,
    Training,
    TrainingStep,
    backward,
    train_epoch,
)
from gravis_triton.training.metrics import StepMetrics

# model and loss are measured forward and backward
ENCODER = "encoder and head"
READY = "step on ready views"
STEP = "whole step"
UPLOAD, VIEWS, CHANNELS_LAST, LOSS, OPTIMIZER = "upload", "views", "to channels-last", "loss", "optimizer"

_STEPS = 3  # of training per sample


def measure_stages(clock: Clock, training: Training, batch: ImageBatch) -> None:
    """Take one sample of each stage from a batch in host memory to the optimizer, and of the step without augmentation.

    The encoder is measured with its projection head. Advances the model by a few steps.
    """
    device, step = training.accelerator.device, training.step
    assert isinstance(step, ContrastiveStep)
    images = len(batch.images)
    views = images * step.views.views_per_image
    if device.type == "cuda":
        batch = ImageBatch(*(part.pin_memory() for part in batch))
        with clock.measure(UPLOAD, images=images):
            uploaded = ImageBatch(*(part.to(device, non_blocking=True) for part in batch))
        batch = uploaded
    with clock.measure(VIEWS, images=images, views=views):
        made = step.views(batch.images, batch.image_sizes)
    measure_view_steps(clock, step.views, batch)
    if step.channels_last:
        with clock.measure(CHANNELS_LAST, images=images, views=views):
            flat = made.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        made = flat.unflatten(0, made.shape[:2])
    flat = made.flatten(0, 1)

    training.model.train()
    with clock.measure(ENCODER, images=images, views=views):
        embeddings = training.model(flat)
        embeddings.backward(torch.randn_like(embeddings) / len(embeddings))
    with clock.measure(OPTIMIZER, images=images, views=views):
        training.optimizer.step()
        training.optimizer.zero_grad()
    leaf = embeddings.detach().requires_grad_()
    with clock.measure(LOSS, images=images, views=views):
        step.objective(leaf.unflatten(0, made.shape[:2])).backward()
    with clock.measure(READY, images=images, views=views):
        backward(training.model, made, step.objective, training.accelerator, step.chunk)
        training.optimizer.step()
        training.optimizer.zero_grad()


def measure_training(clock: Clock, training: Training, views: int, epoch: int) -> None:
    """Take one sample of a whole step: the mean over the first few of an epoch in `train_epoch` with the loader's
    workers, excluding the time before the first batch and the metrics of every `log_every`-th step."""
    paced = _Paced(training.step, clock, steps=min(_STEPS, len(training.batches)))
    progress = Progress(step=epoch * len(training.batches), steps_per_epoch=len(training.batches))
    train_epoch(
        replace(training, step=paced, log_every=2**30),
        progress,
        progress.step + paced.steps,
        StopRequest(),
        lambda metrics: None,
    )
    images = training.batches.batch_size
    clock.add(STEP, paced.seconds_per_step(), images=images, views=images * views)


@dataclass(slots=True)
class _Paced:
    """A training step that records when its first and its last call began."""

    step: TrainingStep
    clock: Clock
    steps: int
    calls: int = 0
    first: float = 0.0
    last: float = 0.0

    def __call__(self, batch: ImageBatch) -> Tensor:
        self.calls += 1
        if self.calls == 1:
            self.first = self.clock.wait()
        elif self.calls == self.steps:
            self.last = self.clock.wait()
        return self.step(batch)

    def metrics(self, measured: StepMetrics) -> StepMetrics:
        return self.step.metrics(measured)

    def seconds_per_step(self) -> float:
        return (self.last - self.first) / (self.steps - 1)
