"""A queue of embeddings of earlier steps, which are further negatives."""

from typing import Any

import torch
from torch import Tensor


class EmbeddingQueue:
    """The embeddings of the last `capacity` views (cross-batch memory: Wang et al., 2020, arXiv 1912.06798).

    embeddings: (at most `capacity`, dim), the oldest first; None before the first `add`.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.embeddings: Tensor | None = None

    @torch.no_grad()
    def add(self, embeddings: Tensor) -> None:
        """Put in embeddings (sources, views, dim), but for those that are not finite; the oldest fall out."""
        rows = embeddings.detach().flatten(0, 1)
        rows = rows[rows.isfinite().all(1)]
        if self.embeddings is not None:
            rows = torch.cat([self.embeddings.to(rows), rows])
        self.embeddings = rows[-self.capacity :]

    def state_dict(self) -> dict[str, Any]:
        return {"embeddings": self.embeddings}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.embeddings = state["embeddings"]
