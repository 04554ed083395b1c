"""Score an encoder on the labelled images of a collection."""

from collections.abc import Sequence

import torch
from torch import nn

from gravis_triton.data.loader import Images
from gravis_triton.data.records import Collection
from gravis_triton.evaluation.features import extract_features
from gravis_triton.evaluation.knn import KnnScores, knn_scores

_MOST = (
    20_000  # images of either part that are looked at; more would change the scores by less than their error
)


def score_encoder(
    encoder: nn.Module,
    collection: Collection,
    images: Images,
    bank: Sequence[int],
    held_out: Sequence[int],
    *,
    size: int,
    device: torch.device,
    workers: int = 0,
) -> KnnScores | None:
    """kNN scores on the held-out images by the labels of the bank's; None where there are no labels in both.

    bank, held_out: indices into the collection's records, which `images` holds in the same order.
    """
    labels = [record.label for record in collection.records]
    bank, held_out = ([i for i in part if labels[i] is not None][:_MOST] for part in (bank, held_out))
    if not bank or not held_out:
        return None
    features = extract_features(
        encoder, images, [*bank, *held_out], size=size, device=device, workers=workers
    )
    known = torch.tensor([labels[i] for i in [*bank, *held_out]])
    scored = collection.scored_classes or collection.classes
    return knn_scores(
        features[: len(bank)],
        known[: len(bank)],
        features[len(bank) :],
        known[len(bank) :],
        classes=len(collection.classes),
        scored=[collection.classes.index(name) for name in scored],
    )
