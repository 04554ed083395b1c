"""The network that is pre-trained."""

from typing import cast

from torch import Tensor, nn

from gravis_triton.models.batch_norm import keep_statistics


class Pretrainer(nn.Module):
    """Encoder and projection head: images (batch, 3, size, size) to embeddings (batch, dim), not normalized.

    The projection head has two layers, as published, and is discarded after pre-training.
    hidden: width of its inner layer. Default: the width of the features. frozen_statistics: the encoder's BatchNorm
    normalizes by the statistics it has instead of those of each batch.
    """

    def __init__(
        self, encoder: nn.Module, *, hidden: int | None, dim: int, frozen_statistics: bool = False
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.frozen_statistics = frozen_statistics
        features = cast(int, encoder.head_hidden_size)
        hidden = hidden or features
        self.projection = nn.Sequential(
            nn.Linear(features, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, dim)
        )

    def train(self, mode: bool = True) -> "Pretrainer":
        super().train(mode)
        if self.frozen_statistics:
            keep_statistics(self.encoder)
        return self

    def no_weight_decay(self) -> set[str]:
        """Parameters that the encoder excludes from weight decay, as timm's optimizers query them."""
        names: set[str] = getattr(self.encoder, "no_weight_decay", set)()
        return {f"encoder.{name}" for name in names}

    def forward(self, images: Tensor) -> Tensor:
        return self.projection(self.encoder(images))
