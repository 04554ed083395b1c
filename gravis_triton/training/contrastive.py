"""A pre-training step: views, embeddings, loss of the whole batch."""

from dataclasses import asdict, dataclass, field

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from gravis_triton.augment import ViewMaker
from gravis_triton.data.loading.loader import ImageBatch
from gravis_triton.losses import Objective, grouping_statistics
from gravis_triton.training.metrics import ContrastiveMetrics, StepMetrics
from gravis_triton.training.step import backward


@dataclass(slots=True)
class ContrastiveStep:
    """Make the views of a batch of images and accumulate the gradient of their loss over all processes.

    chunk: views encoded at a time, see `backward`. embeddings: of the last step, for its metrics.
    """

    accelerator: Accelerator
    views: ViewMaker
    model: nn.Module
    objective: Objective
    chunk: int | None = None
    channels_last: bool = False
    embeddings: Tensor = field(init=False)

    def __call__(self, batch: ImageBatch) -> Tensor:
        views = self.views(batch.images, batch.image_sizes)
        if self.channels_last:
            flat = views.flatten(0, 1).contiguous(memory_format=torch.channels_last)
            views = flat.unflatten(0, views.shape[:2])
        loss, self.embeddings = backward(self.model, views, self.objective, self.accelerator, self.chunk)
        return loss

    def metrics(self, measured: StepMetrics) -> StepMetrics:
        grouping = grouping_statistics(self.embeddings, self.objective.settings)
        return ContrastiveMetrics(
            **asdict(measured),
            views_per_second=measured.images_per_second * self.views.views_per_image,
            positive_similarity=grouping.positive_similarity,
            negative_similarity=grouping.negative_similarity,
            active_triplets=grouping.active_triplets,
            attention_entropy=grouping.attention_entropy,
        )
