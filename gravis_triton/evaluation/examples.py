"""Example images: the similarity of their views, their nearest neighbors, and a map of their features."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gravis_triton.data.datasets.records import Collection
from gravis_triton.data.loading.loader import Images, collate_central_squares
from gravis_triton.evaluation.features import extract_features
from gravis_triton.evaluation.knn import scored_images
from gravis_triton.files import atomic_write, to_bytes

_QUERIES, _NEIGHBORS = 10, 6
_MAPPED, _REFERENCE = 300, 1000  # maximum number of images
_FEWEST_MAPPED = 50
_SIDE = 64  # of a thumbnail


def find_examples(
    encoder: nn.Module,
    collection: Collection,
    images: Images,
    reference: Sequence[int],
    validation: Sequence[int],
    view_embeddings: Tensor,
    *,
    attention_temperature: float | None,
    size: int,
    device: torch.device,
) -> dict[str, np.ndarray]:
    """Examples of what an encoder has learned, without neighbors and map if either set has no labels.

    reference, validation: as in `score_encoder`; the examples are sampled from them. view_embeddings: (batch, views,
    dim). attention_temperature: of the softmax over an anchor's positives; None for uniform attention.

    Returns classes: names. ids, labels, thumbnails (images, side, side, 3) uint8: first the mapped validation images,
    then the neighbors. map: (mapped, 2), t-SNE of their features; empty for few images. neighbors: (queries,
    neighbors), indices of the training images nearest to the first images. similarity, attention: (batch, views,
    views).
    """
    similarity, attention = _view_matrices(view_embeddings, attention_temperature)
    mapped = list(scored_images(collection, validation, _MAPPED))
    candidates = list(scored_images(collection, reference, _REFERENCE))
    order = np.random.default_rng(0).permutation(len(mapped))
    mapped = [mapped[index] for index in order] if candidates else []
    features, nearest = torch.zeros(0, 1), np.zeros((0, 0), np.int64)
    neighbors: list[int] = []  # indices into candidates
    if mapped:
        encoded = extract_features(encoder, images, [*mapped, *candidates], size=size, device=device)
        features, of_candidates = encoded.split([len(mapped), len(candidates)])
        cosine = F.normalize(features[:_QUERIES], dim=1) @ F.normalize(of_candidates, dim=1).T
        indices = cosine.topk(min(_NEIGHBORS, len(candidates)), dim=1).indices.numpy()
        neighbors = sorted({int(index) for index in indices.flat})
        nearest = len(mapped) + np.searchsorted(neighbors, indices)
    shown = [*mapped, *(candidates[index] for index in neighbors)]
    classes, labels = collection.classes, collection.labels(shown)
    if collection.multilabel:  # each set of classes is one
        names = [collection.class_names(collection.records[index]) or "none" for index in shown]
        classes = tuple(sorted(set(names)))
        labels = [classes.index(name) for name in names]
    return {
        "classes": np.array(classes),
        "ids": np.array([collection.records[index].id for index in shown]),
        "labels": np.array(labels, np.int64),
        "thumbnails": _thumbnails(images, shown),
        "map": _map(features),
        "neighbors": nearest,
        "similarity": similarity,
        "attention": attention,
    }


def write_examples(examples: Mapping[str, Any], file: Path) -> None:
    """Write examples as a NumPy archive, atomically."""
    atomic_write(file, to_bytes(lambda opened: np.savez_compressed(opened, **examples)))


def _view_matrices(embeddings: Tensor, temperature: float | None) -> tuple[np.ndarray, np.ndarray]:
    """Cosine similarity (batch, views, views) and the attention of each view (row) to the others."""
    z = F.normalize(embeddings.float(), dim=-1)
    similarity = z @ z.transpose(1, 2)
    own = torch.eye(z.shape[1], dtype=torch.bool)
    logits = torch.zeros_like(similarity) if temperature is None else similarity / temperature
    attention = logits.masked_fill(own, -torch.inf).softmax(2)
    return similarity.numpy(), attention.numpy()


def _map(features: Tensor) -> np.ndarray:
    points = F.normalize(features, dim=1).numpy()
    if len(points) < _FEWEST_MAPPED or not np.ptp(points, axis=0).any():  # t-SNE may crash on equal points
        return np.zeros((0, 2))
    perplexity = min(30.0, len(points) / 4)
    from sklearn.manifold import TSNE  # takes a second to import

    return TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(points)


def _thumbnails(images: Images, indices: Sequence[int]) -> np.ndarray:
    if not indices:
        return np.zeros((0, _SIDE, _SIDE, 3), np.uint8)
    squares = [collate_central_squares([images[index]]).float() for index in indices]
    small = [F.interpolate(square, (_SIDE, _SIDE), mode="bilinear", antialias=True) for square in squares]
    return torch.cat(small).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
