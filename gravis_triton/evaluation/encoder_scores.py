"""Score an encoder on the labeled images of a collection."""

from collections.abc import Sequence

import torch
from torch import nn

from gravis_triton.data.datasets.records import Collection
from gravis_triton.data.loading.loader import Images
from gravis_triton.evaluation.features import extract_features
from gravis_triton.evaluation.knn import KnnScores, knn_scores

_MAX_IMAGES = 20_000  # of either part; more would change the scores by less than their error


def score_encoder(
    encoder: nn.Module,
    collection: Collection,
    images: Images,
    reference: Sequence[int],
    validation: Sequence[int],
    *,
    size: int,
    device: torch.device,
    workers: int = 0,
) -> KnnScores | None:
    """kNN scores on the validation images, from the labels of the reference images; None where either has none.

    reference, validation: indices into the collection's records, which `images` holds in the same order.
    """
    reference, validation = (
        collection.annotated("label", part)[:_MAX_IMAGES] for part in (reference, validation)
    )
    if not reference or not validation:
        return None
    features = extract_features(
        encoder, images, [*reference, *validation], size=size, device=device, workers=workers
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
