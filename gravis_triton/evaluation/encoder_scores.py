"""Score an encoder on the labeled images of a collection."""

from collections.abc import Callable, Sequence

import torch
from torch import nn

from gravis_triton.data.datasets.records import Collection
from gravis_triton.data.loading.loader import Images
from gravis_triton.data.splits.label_fractions import label_subset
from gravis_triton.evaluation.features import extract_features
from gravis_triton.evaluation.knn import KnnScores, knn_scores

MAX_SCORED_IMAGES = 20_000
"""Per set; more would change the scores by less than their error."""


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
    features = extract_features(
        encoder, images, [*reference, *validation], size=size, device=device, progress=progress
    )
    scored = collection.scored_classes or collection.classes
    return knn_scores(
        features[: len(reference)],
        torch.tensor(collection.labels(reference)),
        features[len(reference) :],
        torch.tensor(collection.labels(validation)),
        classes=len(collection.classes),
        scored=[collection.classes.index(name) for name in scored],
    )


def scored_images(collection: Collection, part: Sequence[int], at_most: int) -> Sequence[int]:
    """The labeled images of a part; if there are more than `at_most`, a sample of about that many, stratified by class
    and the same in every call."""
    labeled = collection.annotated("label", part)
    if len(labeled) <= at_most:
        return labeled
    return label_subset(collection, labeled, fraction=at_most / len(labeled), seed=0)
