"""Leaving out steps whose gradient is not finite."""

import torch
from torch import Tensor, nn


class BadSteps:
    """Undoes what a step without a finite gradient has done to a model: its gradient, and BatchNorm's statistics."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.before: list[Tensor] = []

    @torch.no_grad()
    def remember(self) -> None:
        """What a step may spoil; call it before each."""
        self.before = [buffer.clone() for buffer in self.model.buffers()]

    @torch.no_grad()
    def undo(self) -> bool:
        """Whether the last step was bad, and so is undone. All processes find the same, as they share the gradient."""
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        if torch.stack([gradient.isfinite().all() for gradient in gradients]).all():
            return False
        for gradient in gradients:
            gradient.zero_()
        for buffer, value in zip(self.model.buffers(), self.before, strict=True):
            buffer.copy_(value)
        return True
