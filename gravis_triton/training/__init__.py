"""Training: the loop, checkpoints, optimizers, processes."""
