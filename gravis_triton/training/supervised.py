"""A fine-tuning step, and its losses for labels and masks."""

from collections.abc import Callable
from typing import Any

import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gravis_triton.errors import UserError


class SupervisedTask(nn.Module):
    """`loss(network(views), targets)` of a batch, as `train_epoch` needs it.

    examples: turns a batch into views (batch, 3, size, size) and targets.
    """

    def __init__(
        self, network: nn.Module, examples: Callable[[Any], tuple[Tensor, Tensor]], loss: nn.Module
    ) -> None:
        super().__init__()
        self.network, self.make_views, self.loss = network, examples, loss

    def forward(
        self, example: tuple[Tensor, Tensor], batch: Any, step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        views, targets = example
        try:
            predictions = self.network(views)
        except ValueError as error:
            if "more than 1 value per channel" in str(error):
                raise UserError(
                    f"BatchNorm cannot train on {len(views)} image per step and process: use more labels "
                    "(--label-fraction), raise --batch-size, or launch fewer processes"
                ) from error
            raise
        with torch.autocast(views.device.type, enabled=False):
            return self.loss(predictions.float(), targets), {}

    def after_step(self, step: int, steps: int) -> None:
        """Nothing to do."""


class MaskLoss(nn.Module):
    """Mean binary cross-entropy of the pixels plus 1 - (2 sum(p m) + 1) / (sum(p) + sum(m) + 1), the smoothed Dice
    loss over all pixels of the batch; p: probabilities, m: masks.

    logits, masks: (batch, 1, height, width), masks 0 or 1. A batch without any lesion pixel has no Dice term.
    """

    def __init__(self) -> None:
        super().__init__()
        self.dice = smp.losses.DiceLoss("binary", smooth=0.5)  # half of the 1 in the formula

    def forward(self, logits: Tensor, masks: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits, masks) + self.dice(logits, masks)


class ClassLoss(nn.Module):
    """Cross-entropy of logits (batch, classes) and labels (batch,) int64, optionally weighted against class imbalance.

    kind: "plain": the mean of -log p, p the probability of the true class.
    "balanced": the mean of -w log p over the sum of w, where w = n / (classes x n_c) for n training images of which
        n_c are of the true class c.
    "focal": as "balanced", each term times (1 - p)^2 (Lin et al., 2017, arXiv 1708.02002, gamma 2).
    counts: (classes,) training images of each class; a class without any has weight 0.
    """

    def __init__(self, kind: str, counts: Tensor) -> None:
        super().__init__()
        self.kind = kind
        balanced = torch.where(counts > 0, counts.sum() / (len(counts) * counts.clamp(min=1)), 0.0)
        self.weight = nn.Buffer(torch.ones(len(counts)) if kind == "plain" else balanced.float())

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        log_p = F.log_softmax(logits, 1).gather(1, labels[:, None])[:, 0]
        weight = self.weight[labels]
        hardness = (1 - log_p.exp()) ** 2 if self.kind == "focal" else torch.ones_like(log_p)
        return -(weight * hardness * log_p).sum() / weight.sum()
