"""Base class of networks on a pre-trained encoder."""

from typing import Any

from torch import Tensor, nn


class FinetunedNetwork(nn.Module):
    """A network on a pre-trained encoder, which can be frozen.

    pretrained_cfg: timm's, with the normalization of the encoder's images. description: one line for the user.
    """

    pretrained_cfg: Any
    frozen = False
    description = ""

    @property
    def pretrained(self) -> nn.Module:
        """The part that was pre-trained."""
        raise NotImplementedError

    def freeze_encoder(self) -> None:
        """Stop updating the weights of the encoder and the statistics of its BatchNorm."""
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
