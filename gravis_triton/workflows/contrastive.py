"""Components of a pre-training step."""

import math
from dataclasses import dataclass

from torch import nn
from torch.optim import Optimizer

import gravis_triton.training as training
from gravis_triton.augment import ViewMaker
from gravis_triton.data.loading.pretraining import PretrainingData
from gravis_triton.losses import Objective
from gravis_triton.models import OpenedEncoder, Pretrainer, normalization, open_encoder
from gravis_triton.settings import PretrainSettings, default_image_size
from gravis_triton.workflows.launch import Launch


@dataclass(frozen=True, slots=True)
class Networks:
    """Encoder, the model to train (encoder with projection head), its optimizer, and the module that makes views."""

    encoder: nn.Module
    model: nn.Module
    optimizer: Optimizer
    views: ViewMaker


def open_start(settings: PretrainSettings) -> OpenedEncoder:
    """The encoder that pre-training starts from, with the same weights in every process.

    Raises UserError as `open_encoder` does.
    """
    chosen = settings.model
    training.seed_step(settings.run.seed, 0, 0)
    return open_encoder(
        "imagenet" if chosen.pretrained else chosen.encoder,
        model=chosen.model,
        image_size=chosen.image_size,
        default_size=default_image_size(settings.data),
    )


def build_networks(encoder: nn.Module, settings: PretrainSettings, job: Launch) -> Networks:
    """Build everything on top of the encoder, with the same weights in every process. Raises UserError for an unknown
    optimizer."""
    chosen, loop = settings.model, settings.training
    assert chosen.image_size is not None  # resolved
    mean, std = normalization(encoder)
    views = ViewMaker(settings.augmentation, size=chosen.image_size, mean=mean, std=std)
    model = training.prepare_model(
        Pretrainer(encoder, hidden=chosen.projection_hidden, dim=chosen.projection_dim),
        job.accelerator,
        channels_last=loop.channels_last,
        compile=loop.compile,
    )
    optimizer = training.build_optimizer(model, settings.optimization)
    return Networks(encoder, model, optimizer, views.to(job.accelerator.device))


def prepare_training(
    settings: PretrainSettings, job: Launch, networks: Networks, data: PretrainingData
) -> training.Training:
    """Prepare model, optimizer, schedule and step for distributed training."""
    loop, steps_per_epoch = settings.training, len(data.batches)
    steps = total_steps(settings, job, steps_per_epoch=steps_per_epoch)
    scheduler = training.build_scheduler(
        networks.optimizer, settings.optimization, steps=steps, steps_per_epoch=steps_per_epoch
    )
    model, optimizer = job.accelerator.prepare(networks.model, networks.optimizer)
    step = training.ContrastiveStep(
        job.accelerator,
        networks.views,
        model,
        Objective(settings.loss),
        settings.model.grad_cache_chunk,
        loop.channels_last,
    )
    return training.Training(
        accelerator=job.accelerator,
        batches=data.batches,
        loader=data.loader,
        model=model,
        step=step,
        optimizer=optimizer,
        scheduler=scheduler,
        seed=settings.run.seed,
        epochs=math.ceil(steps / steps_per_epoch),
        log_every=loop.log_every,
        max_bad_steps=loop.max_bad_steps,
    )


def total_steps(settings: PretrainSettings, job: Launch, *, steps_per_epoch: int) -> int:
    """Number of optimizer steps in all epochs, or for --total-views views."""
    optimization = settings.optimization
    if optimization.epochs is not None:
        return optimization.epochs * steps_per_epoch
    assert optimization.total_views is not None  # else there are epochs
    views = optimization.batch_size * settings.augmentation.views * job.accelerator.num_processes
    return max(1, round(optimization.total_views / views))
