"""An encoder with a linear classifier on top."""

from typing import cast

from torch import Tensor, nn

from gravis_triton.models.finetuned import FinetunedNetwork


class Classifier(FinetunedNetwork):
    """Images (batch, 3, size, size) to logits (batch, classes): encoder, dropout, one linear layer."""

    def __init__(self, encoder: nn.Module, *, classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.pretrained_cfg = encoder.pretrained_cfg
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(cast(int, encoder.head_hidden_size), classes)

    @property
    def pretrained(self) -> nn.Module:
        return self.encoder

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.dropout(self.encoder(images)))
