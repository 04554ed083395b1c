"""Training: the loop, checkpoints, optimizers, processes."""

from gravis_triton.training.checkpoint import (
    Stateful,
    TrainState,
    check_export,
    export_encoder,
    save_checkpoint,
    start_or_resume,
)
from gravis_triton.training.engine import Training, build_training, seed_step, train_epoch
from gravis_triton.training.interrupt import StopRequest, stop_on_signals
from gravis_triton.training.optimizers import build_optimizer, check_optimizer
from gravis_triton.training.setup import end_trackers, start_accelerator
