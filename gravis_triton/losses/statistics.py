"""Statistics of how well grouping works, from the embeddings of one step."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from gravis_kernels.settings import GravisSettings
from torch import Tensor

_MAX_TRIPLETS = 2**24  # maximum number of (anchor, positive, negative); anchors are subsampled to stay below


@dataclass(frozen=True, slots=True)
class GroupingStatistics:
    """Means over the anchors of one process.

    positive_similarity, negative_similarity: mean cosine similarity of a view to the other views of its source, and to
    views of other sources; in [-1, 1].
    active_triplets: fraction of triplets whose positive is not more similar than the negative by at least the margin.
    attention_entropy: entropy of the attention over the positives, divided by its maximum; 1 is uniform. NaN if
    there is only one positive.
    """

    positive_similarity: float
    negative_similarity: float
    active_triplets: float
    attention_entropy: float


@torch.no_grad()
def grouping_statistics(embeddings: Tensor, settings: GravisSettings) -> GroupingStatistics:
    """Statistics of embeddings (sources, views, dim), which are normalized here."""
    sources, views, _ = embeddings.shape
    columns = F.normalize(embeddings.detach().float().flatten(0, 1), dim=1)
    batch = len(columns)
    step = math.ceil(batch * batch * views / _MAX_TRIPLETS)
    anchors = torch.arange(0, batch, step, device=columns.device)
    rows = torch.arange(len(anchors), device=columns.device)
    similarity = columns[anchors] @ columns.T  # (anchors, batch)
    of_source = similarity.view(-1, sources, views)[rows, anchors // views]  # (anchors, views)
    own = F.one_hot(anchors % views, views).bool()
    positives = of_source[~own].view(-1, views - 1)
    own_source = F.one_hot(anchors // views, sources).bool().repeat_interleave(views, dim=1)
    negatives = similarity[~own_source].view(len(anchors), batch - views)
    gaps = (
        negatives.unsqueeze(1) - positives.unsqueeze(2) + settings.margin
    )  # (anchors, positives, negatives)
    attention = _attention(of_source, own, positives, negatives, settings)
    entropy = (
        torch.special.entr(attention).sum(1).mean() / math.log(views - 1)
        if views > 2
        else torch.tensor(math.nan)
    )
    return GroupingStatistics(
        positive_similarity=positives.mean().item(),
        negative_similarity=negatives.mean().item(),
        active_triplets=(gaps > 0).float().mean().item(),
        attention_entropy=entropy.item(),
    )


def _attention(
    of_source: Tensor, own: Tensor, positives: Tensor, negatives: Tensor, settings: GravisSettings
) -> Tensor:
    """Weights of the positives, (anchors, positives), that sum to 1 over each anchor's positives."""
    if settings.attention == "softmax":
        return F.softmax(positives / settings.attention_temperature, dim=1)
    if settings.attention == "uniform":
        return torch.full_like(positives, 1 / positives.shape[1])
    soft_rank = 0.5 + torch.sigmoid(
        (of_source.unsqueeze(1) - of_source.unsqueeze(2)) / settings.temperature
    ).sum(2)
    soft_rank += torch.sigmoid((negatives.unsqueeze(1) - of_source.unsqueeze(2)) / settings.temperature).sum(
        2
    )
    return F.normalize((1 / soft_rank)[~own].view_as(positives), p=1, dim=1)
