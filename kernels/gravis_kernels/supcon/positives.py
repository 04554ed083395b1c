"""The positives' part of SupCon: linear in the similarities, so sums of embeddings by label are sufficient."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Positives:
    """For every labeled row: `means`, (B, dim), the mean of its positives; `weights`, (B,), 1 / (A t) for A anchors;
    `inverse_counts`, (B,), 1 / |P|; `group`, (B,), int32, the index of its label.

    All except `group` are 0 for a row without positives.
    """

    means: Tensor
    weights: Tensor
    inverse_counts: Tensor
    group: Tensor

    def loss(self, own: slice, columns: Tensor, lse: Tensor) -> Tensor:
        """Own rows' share of the loss; lse: (own rows,), t log(sum over n != i of exp(s_in / t))."""
        towards = (columns[own].to(self.means.dtype) * self.means[own]).sum(1)
        return ((lse - towards) * self.weights[own]).sum()

    def gradient(self, own: slice) -> Tensor:
        """(own rows, dim); a pair of positives counts twice, as both rows have the same number of positives."""
        return self.means[own] * (-2 * self.weights[own, None])


def find_positives(rows: Tensor, labels: Tensor, temperature: float) -> Positives:
    """rows: (B, dim); labels: (B,)."""
    dtype = torch.float64 if rows.dtype == torch.float64 else torch.float32
    rows = rows.to(dtype)
    values, group, counts = labels.unique(return_inverse=True, return_counts=True)
    sums = rows.new_zeros(len(values), rows.shape[1]).index_add_(0, group, rows)
    others = counts[group] - 1
    has_any = others > 0
    inverse_counts = has_any / others.clamp(min=1).to(dtype)
    means = (sums[group] - rows) * inverse_counts[:, None]
    weights = has_any.to(dtype) / (has_any.sum().clamp(min=1).to(dtype) * temperature)
    return Positives(means, weights, inverse_counts, group.to(torch.int32))
