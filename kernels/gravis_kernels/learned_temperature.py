"""A temperature that is a tensor and may learn, for losses in which similarities occur only as s / t.

Their value at temperature t is that at temperature 1 of embeddings divided by the root of t, through which autograd
brings t its exact gradient.
"""

from torch import Tensor

from gravis_kernels.batch import normalized
from gravis_kernels.gravis.compute import precision_of


def absorb(
    embeddings: Tensor, temperature: Tensor | float, normalize: bool, extra_negatives: Tensor | None
) -> tuple[Tensor, float, bool]:
    """Embeddings, temperature and whether to normalize: as given where the temperature is a number, else the embeddings
    (..., dim), normalized if asked for, times temperature ** -0.5, in float32 (float64 for float64), at temperature 1.

    A tensor is absorbed whether or not it learns in this process, so that all do alike; but one that does not learn is
    a number like others beside extra negatives.

    Raises:
        ValueError: a temperature of more than one number, or one that learns beside extra negatives, which would bring
            it no gradient.
    """
    if not isinstance(temperature, Tensor):
        return embeddings, float(temperature), normalize
    if temperature.numel() != 1:
        raise ValueError(f"temperature must be one number, got shape {tuple(temperature.shape)}")
    if extra_negatives is not None and temperature.requires_grad:
        raise ValueError(
            "a temperature that learns gets no gradient from extra_negatives: leave one of them out"
        )
    if extra_negatives is not None:
        return embeddings, float(temperature), normalize
    rows = embeddings.to(precision_of(embeddings))
    if normalize:
        rows, _ = normalized(rows)
    return rows * temperature.to(rows).reshape(()).rsqrt(), 1.0, False
