"""Base class of networks on a pre-trained encoder."""

from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class FinetunedNetwork(nn.Module):
    """A network on a pre-trained encoder, which can be frozen.

    pretrained_cfg: timm's, with the normalization of the encoder's images. description: one line for the user.
    """

    pretrained_cfg: Any
    frozen = False
    frozen_statistics = False
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

    def freeze_statistics(self) -> None:
        """Let the encoder's BatchNorm normalize by the statistics of pre-training instead of those of each batch. Its
        weights and biases are still trained."""
        self.frozen_statistics = True
        self.train(self.training)

    def train(self, mode: bool = True) -> "FinetunedNetwork":
        super().train(mode)
        if self.frozen:
            self.pretrained.eval()
        elif self.frozen_statistics:
            for module in self.pretrained.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        raise NotImplementedError
