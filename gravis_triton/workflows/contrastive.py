"""What takes part in a pre-training step."""

from dataclasses import dataclass

from torch import nn
from torch.optim import Optimizer

import gravis_triton.training as training
from gravis_triton.augment import ViewMaker
from gravis_triton.data.loading.pretraining import PretrainingData
from gravis_triton.losses import Objective
from gravis_triton.models import Pretrainer, build_encoder, normalization
from gravis_triton.settings import PretrainSettings
from gravis_triton.workflows.launch import Launch


@dataclass(frozen=True, slots=True)
class Networks:
    """Encoder, the model that is trained (with the projection head), its optimizer, and the module that makes views."""

    encoder: nn.Module
    model: nn.Module
    optimizer: Optimizer
    views: ViewMaker


def build_networks(settings: PretrainSettings, job: Launch) -> Networks:
    """The networks with the same weights in every process. Raises UserError for an unknown model or optimizer."""
    chosen, loop = settings.model, settings.training
    assert chosen.image_size is not None  # resolved
    training.seed_step(settings.run.seed, 0, 0)
    encoder = build_encoder(chosen.model, image_size=chosen.image_size, pretrained=chosen.pretrained)
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
    """Model, optimizer, schedule and step, prepared for the processes."""
    optimization, loop = settings.optimization, settings.training
    assert optimization.epochs is not None  # resolved
    scheduler = training.build_scheduler(
        networks.optimizer, optimization, epochs=optimization.epochs, steps_per_epoch=len(data.batches)
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
        job.accelerator,
        data.batches,
        data.loader,
        model,
        step,
        optimizer,
        scheduler,
        settings.run.seed,
        optimization.epochs,
        loop.log_every,
    )
