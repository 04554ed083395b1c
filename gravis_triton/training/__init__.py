"""Training: setup, steps, epochs, checkpoints."""

from gravis_triton.training.checkpoint import Progress, save_checkpoint, start_progress
from gravis_triton.training.contrastive import ContrastiveStep
from gravis_triton.training.epoch import Training, TrainingStep, seed_step, train_epoch
from gravis_triton.training.export import check_export, export_encoder
from gravis_triton.training.finetune import (
    Best,
    FinetuningRun,
    finetune_batches,
    start_finetuning,
    train_and_validate,
)
from gravis_triton.training.interrupt import StopRequest, stop_on_signals
from gravis_triton.training.metrics import StepMetrics
from gravis_triton.training.setup import (
    build_optimizer,
    build_scheduler,
    check_optimizer,
    end_trackers,
    prepare_model,
    start_accelerator,
)
from gravis_triton.training.step import backward
from gravis_triton.training.supervised import ClassLoss, MaskLoss, SupervisedStep

__all__ = [
    "Best",
    "ClassLoss",
    "ContrastiveStep",
    "FinetuningRun",
    "MaskLoss",
    "Progress",
    "StepMetrics",
    "StopRequest",
    "SupervisedStep",
    "Training",
    "TrainingStep",
    "backward",
    "build_optimizer",
    "build_scheduler",
    "check_export",
    "check_optimizer",
    "end_trackers",
    "export_encoder",
    "finetune_batches",
    "prepare_model",
    "save_checkpoint",
    "seed_step",
    "start_accelerator",
    "start_finetuning",
    "start_progress",
    "stop_on_signals",
    "train_and_validate",
    "train_epoch",
]
