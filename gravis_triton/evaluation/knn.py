"""How well nearest neighbours in feature space share a diagnosis."""

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
from gravis_triton.evaluation.features import LabelledFeatures

NEIGHBOURS = (1, 2, 5, 10, 20, 50, 100, 200)
"""Numbers of neighbours that `choose_neighbours` chooses from."""
_ROWS = 1024  # queries compared with the whole bank at a time


@dataclass(frozen=True, slots=True)
class KnnScores:
    """balanced_accuracy: mean recall over the classes. mean_auc: mean one-against-rest AUC of the scored classes."""

    balanced_accuracy: float
    mean_auc: float


def knn_probabilities(
    bank: Tensor,
    labels: Tensor,
    queries: Tensor,
    *,
    classes: int,
    neighbours: int = 20,
    temperature: float = 0.07,
) -> Tensor:
    """Class probabilities (queries, classes) from the labels of the nearest features by cosine similarity.

    The `neighbours` nearest of the bank (n, dim) vote with weight exp(similarity / temperature) (Wu et al., 2018,
    arXiv 1805.01978). A vote counts in inverse proportion to its class's share of the bank, so that rare diseases are
    not outvoted by moles: the target is balanced accuracy.
    """
    bank, queries = F.normalize(bank, dim=1), F.normalize(queries, dim=1)
    class_weight = 1 / torch.bincount(labels, minlength=classes).clamp(min=1).float()
    votes = []
    for rows in queries.split(_ROWS):
        similarity, nearest = (rows @ bank.T).topk(min(neighbours, len(bank)), dim=1)
        weight = torch.exp((similarity - 1) / temperature) * class_weight[labels[nearest]]
        votes.append(torch.zeros(len(rows), classes).scatter_add_(1, labels[nearest], weight))
    return F.normalize(torch.cat(votes), p=1, dim=1)


def choose_neighbours(
    bank: LabelledFeatures, validation: LabelledFeatures, *, classes: int, scored: Sequence[int]
) -> int:
    """How many neighbours predict the validation images best by `selection_score`; of equal ones the most."""
    known = validation.labels.numpy()

    def score(neighbours: int) -> float:
        p = knn_probabilities(
            bank.features, bank.labels, validation.features, classes=classes, neighbours=neighbours
        )
        return selection_score(p.double().numpy(), known, scored)

    numbers = [number for number in NEIGHBOURS if number <= len(bank.labels)]
    return max(numbers, key=lambda number: (score(number), number))


def knn_scores(
    bank: Tensor,
    bank_labels: Tensor,
    queries: Tensor,
    query_labels: Tensor,
    *,
    classes: int,
    scored: Sequence[int],
) -> KnnScores:
    """Score features `queries` with known labels by their neighbours in `bank`; `scored` classes enter the mean AUC.

    A class that the queries lack, or that all of them have, has no AUC and is left out of the mean.
    """
    probabilities = knn_probabilities(bank, bank_labels, queries, classes=classes).double().numpy()
    known = query_labels.numpy()
    return KnnScores(
        balanced_accuracy=mean_of_known(recalls(decided_classes(probabilities), known, classes=classes)),
        mean_auc=mean_of_known(auc(probabilities[:, c], known == c) for c in scored),
    )
