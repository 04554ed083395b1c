"""The soft hardest negative, temperature * log(sum over negatives n of exp(s_in / temperature)), tile by tile.

Two classes with the same interface: `values` of the anchors, then the `gradient` of own rows from the values v and
weights w = d(loss)/d(v) of all rows: dz_i = sum over n of (w_i exp((s_in - v_i) / t) + w_n exp((s_in - v_n) / t)) z_n.
Columns from `batch` on are extra negatives, which have no v and no w.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import pad

from gravis_kernels.gravis.pairs import Pair, accumulate_grad, pairs, sweep

# maximum number of exponentials kept from one pass to the next: 4 MiB in float32
KEPT = 2**20


class LogSumExp:
    """With a running maximum, for similarities of any size."""

    def __init__(self, columns: Tensor, anchors: slice, views: int, batch: int, temperature: float) -> None:
        self.columns, self.anchors, self.views, self.batch = columns, anchors, views, batch
        self.temperature = temperature

    def values(self) -> Tensor:
        """(anchors,)"""
        logs = self.columns.new_full((self.batch,), -torch.inf)

        def visit(anchors: slice, similarities: Tensor) -> None:
            more = torch.logsumexp(similarities / self.temperature, dim=1)
            logs[anchors] = torch.logaddexp(logs[anchors], more)

        sweep(self.columns, self.anchors, self.views, self.batch, visit, need_gradient=False)
        return logs[self.anchors] * self.temperature

    def gradient(self, own: slice, values: Tensor, weights: Tensor) -> Tensor | None:
        """(own rows, dim); values, weights: (B,)."""
        logs = values / self.temperature

        def visit(anchors: slice, similarities: Tensor) -> Tensor:
            logits = (similarities / self.temperature).sub_(logs[anchors, None])
            return logits.exp_().mul_(weights[anchors, None])

        return sweep(self.columns, own, self.views, self.batch, visit, need_gradient=True)


class PlainLogSumExp:
    """For cosine similarities: plain exp(s / t), so that one exponential serves both directions of a pair."""

    def __init__(self, columns: Tensor, anchors: slice, views: int, batch: int, temperature: float) -> None:
        self.columns, self.anchors, self.views, self.batch = columns, anchors, views, batch
        self.rate = math.log2(math.e) / temperature
        self.kept: list[Pair] = []

    def values(self) -> Tensor:
        """(anchors,)"""
        totals = self.columns.new_zeros(len(self.columns))
        keep = (self.anchors.stop - self.anchors.start) * len(self.columns) <= KEPT
        for pair in self._pairs(self.anchors):
            exponentials = pair.similarities.mul_(self.rate).exp2_()
            totals[pair.rows] += exponentials.sum(1)
            if pair.both:
                totals[pair.others] += exponentials.sum(0)
            if keep:
                self.kept.append(pair)
        return totals[self.anchors].log2_() / self.rate

    def gradient(self, own: slice, values: Tensor, weights: Tensor) -> Tensor:
        """(own rows, dim); values, weights: (B,)."""
        weights = pad(weights * torch.exp2(values * -self.rate), (0, len(self.columns) - self.batch))
        gradient = torch.zeros_like(self.columns[own])
        reuse = bool(self.kept) and own == self.anchors
        for rows, others, both, tile in self.kept if reuse else self._pairs(own):
            exponentials = tile if reuse else tile.mul_(self.rate).exp2_()
            slopes = exponentials.mul_(weights[rows, None] + weights[others])
            accumulate_grad(gradient, self.columns, own, rows, others, both, slopes)
        return gradient

    def _pairs(self, own: slice) -> Iterator[Pair]:
        return pairs(self.columns, own, self.views, self.batch)
