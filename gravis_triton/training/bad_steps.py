"""Skip steps with a non-finite gradient."""

import torch
from torch import Tensor, nn


class BadSteps:
    """Undo what a step with a non-finite gradient did to a model: its gradient and BatchNorm statistics."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.before: list[Tensor] = []

    @torch.no_grad()
    def remember(self) -> None:
        """Save the buffers that a step may corrupt; call before each step."""
        self.before = [buffer.clone() for buffer in self.model.buffers()]

    @torch.no_grad()
    def undo(self) -> bool:
        """Undo the last step if it was bad; returns whether it was. All processes agree, as they share the gradient."""
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        if torch.stack([gradient.isfinite().all() for gradient in gradients]).all():
            return False
        for gradient in gradients:
            gradient.zero_()
        for buffer, value in zip(self.model.buffers(), self.before, strict=True):
            buffer.copy_(value)
        return True
