"""The soft hardest negative, temperature * log(sum over negatives n of exp(s_in / temperature)), tile by tile.

Two classes with the same interface: `values` of the anchors, then the `gradient` of own rows from the values v and
weights w = d(loss)/d(v) of all rows: dz_i = sum over n of (w_i exp((s_in - v_i) / t) + w_n exp((s_in - v_n) / t)) z_n.
Columns from `batch` on are extra negatives, which have no v and no w.
"""

import threading
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import pad

from gravis_kernels.gravis.pairs import TILE, Pair, accumulate_grad, pairs, sweep

KEPT = 2**28  # bytes of exponentials kept from one pass to the next, at most: for 11,000 rows in float32
_memory = threading.local()


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
        self.temperature = temperature
        self.kept: list[Pair] = []

    def values(self) -> Tensor:
        """(anchors,)"""
        totals = self.columns.new_zeros(len(self.columns))
        rows = self.anchors.stop - self.anchors.start
        # at most: all pairs with columns that are no anchors, half of those of two anchors, tiles on the diagonal whole
        size = rows * (len(self.columns) - rows) + rows * (rows + max(TILE, self.views)) // 2
        keep = size * totals.element_size() <= KEPT
        room = _room(size, totals) if keep else totals[:0]
        for pair in self._pairs(self.anchors):
            tile = pair.similarities.mul_(1 / self.temperature)
            if keep:
                kept, room = room[: tile.numel()].view_as(tile), room[tile.numel() :]
                tile = torch.exp(tile, out=kept)
                self.kept.append(pair._replace(similarities=tile))
            else:
                tile.exp_()
            totals[pair.rows] += tile.sum(1)
            if pair.both:
                totals[pair.others] += tile.sum(0)
        return totals[self.anchors].log_() * self.temperature

    def gradient(self, own: slice, values: Tensor, weights: Tensor) -> Tensor:
        """(own rows, dim); values, weights: (B,)."""
        weights = pad(weights * torch.exp(values / -self.temperature), (0, len(self.columns) - self.batch))
        gradient = torch.zeros_like(self.columns[own])
        reuse = bool(self.kept) and own == self.anchors
        for rows, others, both, tile in self.kept if reuse else self._pairs(own):
            exponentials = tile if reuse else tile.mul_(1 / self.temperature).exp_()
            slopes = (weights[rows, None] + weights[others]).mul_(exponentials)
            accumulate_grad(gradient, self.columns, own, rows, others, both, slopes)
        return gradient

    def _pairs(self, own: slice) -> Iterator[Pair]:
        return pairs(self.columns, own, self.views, self.batch)


def _room(values: int, like: Tensor) -> Tensor:
    """Memory for values that stays the calling thread's: faults of new pages take as long as the products saved."""
    room: Tensor | None = getattr(_memory, "room", None)
    if room is None or len(room) < values or room.dtype != like.dtype or room.device != like.device:
        with torch.inference_mode(False):  # else later training could not write to it
            _memory.room = room = torch.empty(values, dtype=like.dtype, device=like.device)
    return room
