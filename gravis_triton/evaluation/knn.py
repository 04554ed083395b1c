"""k-nearest-neighbor classification on frozen features."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gravis_triton.evaluation.classification import (
    auc,
    decided_classes,
    mean_of_known,
    recalls,
    selection_score,
)
from gravis_triton.evaluation.features import LabeledFeatures

NEIGHBORS = (1, 2, 5, 10, 20, 50, 100, 200)
"""Values of k that `choose_neighbors` tries."""
_ROWS = 1024  # queries compared with the whole reference set at a time


@dataclass(frozen=True, slots=True)
class KnnScores:
    """balanced_accuracy: mean recall over the classes. mean_auc: mean one-vs-rest AUC of the scored classes.
    images: number of images scored."""

    balanced_accuracy: float
    mean_auc: float
    images: int


def knn_probabilities(
    reference: Tensor,
    labels: Tensor,
    queries: Tensor,
    *,
    classes: int,
    neighbors: int = 20,
    temperature: float = 0.07,
) -> Tensor:
    """Class probabilities (queries, classes) from the labels of the nearest features by cosine similarity.

    The `neighbors` nearest of the reference set (n, dim) vote with weight exp(similarity / temperature) (Wu et
    al., 2018, arXiv 1805.01978), divided by the number of reference images of their class, which targets balanced
    accuracy.
    """
    reference, queries = F.normalize(reference, dim=1), F.normalize(queries, dim=1)
    class_weight = 1 / torch.bincount(labels, minlength=classes).clamp(min=1).float()
    votes = []
    for rows in queries.split(_ROWS):
        similarity, nearest = (rows @ reference.T).topk(min(neighbors, len(reference)), dim=1)
        weight = torch.exp((similarity - 1) / temperature) * class_weight[labels[nearest]]
        votes.append(torch.zeros(len(rows), classes).scatter_add_(1, labels[nearest], weight))
    return F.normalize(torch.cat(votes), p=1, dim=1)


def choose_neighbors(
    reference: LabeledFeatures, validation: LabeledFeatures, *, classes: int, scored: Sequence[int]
) -> int:
    """The k with the highest `selection_score` on the validation features; ties go to the largest."""
    known = validation.labels.numpy()

    def score(neighbors: int) -> float:
        p = knn_probabilities(
            reference.features, reference.labels, validation.features, classes=classes, neighbors=neighbors
        )
        return selection_score(p.double().numpy(), known, scored)

    numbers = [number for number in NEIGHBORS if number <= len(reference.labels)]
    return max(numbers, key=lambda number: (score(number), number))


def knn_scores(
    reference: Tensor,
    reference_labels: Tensor,
    queries: Tensor,
    query_labels: Tensor,
    *,
    classes: int,
    scored: Sequence[int],
) -> KnnScores:
    """kNN scores of the features `queries`, classified by their neighbors in `reference`.

    scored: classes of the mean AUC. A class without positive or without negative queries has no AUC and is left out.
    """
    probabilities = knn_probabilities(reference, reference_labels, queries, classes=classes).double().numpy()
    known = query_labels.numpy()
    return KnnScores(
        balanced_accuracy=mean_of_known(recalls(decided_classes(probabilities), known, classes=classes)),
        mean_auc=mean_of_known(auc(probabilities[:, c], known == c) for c in scored),
        images=len(known),
    )
