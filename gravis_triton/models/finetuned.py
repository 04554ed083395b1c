"""What networks built on a pre-trained encoder have in common."""

from typing import Any

from torch import Tensor, nn


class FinetunedNetwork(nn.Module):
    """A network whose `encoder` was pre-trained, and can be kept as it is.

    pretrained_cfg: where timm keeps how the encoder's images are normalised.
    """

    pretrained_cfg: Any
    frozen = False

    @property
    def pretrained(self) -> nn.Module:
        """The part that was pre-trained."""
        raise NotImplementedError

    def freeze_encoder(self) -> None:
        """Neither the weights of the encoder nor the statistics of its BatchNorm change from now on."""
        self.frozen = True
        self.pretrained.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> "FinetunedNetwork":
        super().train(mode)
        if self.frozen:
            self.pretrained.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        raise NotImplementedError
