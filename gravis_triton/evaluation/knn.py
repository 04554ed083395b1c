"""k-nearest-neighbor classification on frozen features."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gravis_triton.data.datasets.records import Collection
from gravis_triton.data.loading.loader import Images
from gravis_triton.data.splits.label_fractions import label_subset
from gravis_triton.evaluation.classification import balanced_accuracy, mean_auc, selection_score
from gravis_triton.evaluation.features import LabeledFeatures, extract_features

NEIGHBORS = (1, 2, 5, 10, 20, 50, 100, 200)
"""Values of k that `choose_neighbors` tries."""
MAX_SCORED_IMAGES = 20_000
"""Per set; more would change the scores by less than their error."""
_TEMPERATURE = 0.07  # of the neighbors' votes
_ROWS = 1024  # queries compared with the whole reference set at a time, at most
_MAX_SIMILARITIES = 2**22  # at a time: 16 MB, which are reused, not mapped anew


@dataclass(frozen=True, slots=True)
class KnnScores:
    """balanced_accuracy: mean recall over the classes. mean_auc: mean one-vs-rest AUC of the scored classes.
    images: number of images scored."""

    balanced_accuracy: float
    mean_auc: float
    images: int


def knn_probabilities(reference: LabeledFeatures, queries: Tensor, *, classes: int, neighbors: int = 20) -> Tensor:
    """Class probabilities (queries, classes) from the labels of the nearest features by cosine similarity.

    The `neighbors` nearest of the reference set vote with weight exp(similarity / 0.07) (Wu et al., 2018, arXiv
    1805.01978), divided by the number of reference images of their class, which targets balanced accuracy. Labels
    (n, classes) of 0 and 1 are averaged with these weights, without this division.
    """
    return _probabilities(reference, queries, classes, (neighbors,))[0]


def _probabilities(known: LabeledFeatures, queries: Tensor, classes: int, numbers: Sequence[int]) -> list[Tensor]:
    """`knn_probabilities` for several ascending numbers of neighbors, from one search for the largest."""
    labels, reference, queries = known.labels, F.normalize(known.features, dim=1), F.normalize(queries, dim=1)
    counts = torch.bincount(labels, minlength=classes) if labels.ndim == 1 else torch.ones(classes)
    class_weight = 1 / counts.clamp(min=1).float()
    numbers = [min(number, len(reference)) for number in numbers]
    votes: list[list[Tensor]] = [[] for _ in numbers]
    for rows in queries.split(min(_ROWS, max(1, _MAX_SIMILARITIES // len(reference)))):
        similarities = rows @ reference.T
        largest, indices = similarities.topk(numbers[-1], dim=1)
        for number, of_number in zip(numbers, votes, strict=True):
            similarity, nearest = largest[:, :number], indices[:, :number]
            if number < numbers[-1]:  # topk decides a tie at the last neighbor otherwise for another number
                tied = largest[:, number - 1] == largest[:, number]
                nearest = nearest.clone()
                nearest[tied] = similarities[tied].topk(number, dim=1).indices
            weight = torch.exp((similarity - 1) / _TEMPERATURE)
            of_number.append(_vote(weight, labels[nearest], class_weight))
    return [torch.cat(of_number) for of_number in votes]


def _vote(weight: Tensor, labels: Tensor, class_weight: Tensor) -> Tensor:
    """Probabilities (queries, classes) from the weights (queries, neighbors) and labels of the neighbors."""
    if labels.ndim == 3:
        return (F.normalize(weight, p=1, dim=1)[:, :, None] * labels).sum(1).clamp(max=1)
    votes = torch.zeros(len(labels), len(class_weight)).scatter_add_(1, labels, weight * class_weight[labels])
    return F.normalize(votes, p=1, dim=1)


def choose_neighbors(
    reference: LabeledFeatures, validation: LabeledFeatures, *, classes: int, scored: Sequence[int]
) -> int:
    """The k with the highest `selection_score` on the validation features; ties go to the largest."""
    numbers = [number for number in NEIGHBORS if number <= len(reference.labels)]
    probabilities = _probabilities(reference, validation.features, classes, numbers)
    scores = [selection_score(p.double().numpy(), validation.labels.numpy(), scored) for p in probabilities]
    return max(zip(scores, numbers, strict=True))[1]


def knn_scores(
    reference: LabeledFeatures, queries: LabeledFeatures, *, classes: int, scored: Sequence[int]
) -> KnnScores:
    """kNN scores of the queries, classified by their neighbors in `reference`.

    scored: classes of the mean AUC. A class without positive or without negative queries has no AUC and is left out.
    """
    p = knn_probabilities(reference, queries.features, classes=classes).double().numpy()
    known = queries.labels.numpy()
    return KnnScores(balanced_accuracy(p, known), mean_auc(p, known, scored), images=len(known))


def score_encoder(
    encoder: nn.Module,
    collection: Collection,
    images: Images,
    reference: Sequence[int],
    validation: Sequence[int],
    *,
    size: int,
    device: torch.device,
    at_most: int = MAX_SCORED_IMAGES,
    progress: Callable[[int, int], None] | None = None,
) -> KnnScores | None:
    """kNN scores on the validation images, from the labels of the reference images; None if either set has no labels.

    reference, validation: indices into the collection's records and into `images`, which has the same order; at most
    about `at_most` of each are used. progress: called with (done, total) images.
    """
    reference, validation = (scored_images(collection, part, at_most) for part in (reference, validation))
    if not reference or not validation:
        return None
    features = extract_features(encoder, images, [*reference, *validation], size=size, device=device, progress=progress)
    labels = torch.tensor(collection.labels([*reference, *validation]))
    sizes = [len(reference), len(validation)]
    parts = [LabeledFeatures(*part) for part in zip(features.split(sizes), labels.split(sizes), strict=True)]
    return knn_scores(*parts, classes=len(collection.classes), scored=collection.scored_indices)


def scored_images(collection: Collection, part: Sequence[int], at_most: int) -> Sequence[int]:
    """The labeled images of a part; if there are more than `at_most`, a sample of about that many, stratified by class
    and the same in every call."""
    labeled = collection.annotated("label", part)
    if len(labeled) <= at_most:
        return labeled
    return label_subset(collection, labeled, fraction=at_most / len(labeled), seed=0)
