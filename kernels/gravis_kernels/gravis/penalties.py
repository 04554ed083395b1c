"""Loss and slopes of a tile of similarities, for each penalty.

Positive j of anchor i sets the threshold t_ij = s_ij - margin: phi(s - t_ij) penalizes a similarity s of i.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, pad

from gravis_kernels.settings import GravisSettings, Penalty


class Hinge:
    """phi(x) = max(0, x), by binning each similarity among its anchor's sorted thresholds.

    A similarity in bin b violates the first b thresholds, so its slope is the b-th prefix sum of the weights,
    and counts and sums per bin give the totals of every threshold.
    """

    def __init__(self, thresholds: Tensor, weights: Tensor | None) -> None:
        """thresholds: (B, K). weights: (B, K), d(loss)/d(h_ij), or None if slopes are not needed."""
        self.thresholds, self.order = thresholds.sort(1)
        bins = (len(thresholds), thresholds.shape[1] + 1)
        self.counts = thresholds.new_zeros(bins, dtype=_sum_dtype(thresholds.device))
        self.sums = torch.zeros_like(self.counts)
        self.slopes = None
        if weights is not None:
            self.slopes = pad(weights.gather(1, self.order).cumsum(1), (1, 0))  # [B, K + 1]

    def visit(self, anchors: slice, similarities: Tensor) -> Tensor | None:
        bins = self._bins(anchors, similarities)
        if bins is None:
            return None
        self.counts[anchors] += self._per_bin(bins, torch.ones_like(similarities))
        self.sums[anchors] += self._per_bin(bins, similarities)
        return None if self.slopes is None else self.slopes[anchors].gather(1, bins)

    def _bins(self, anchors: slice, similarities: Tensor) -> Tensor | None:
        """Number of thresholds that each similarity exceeds; None if the whole tile exceeds none."""
        thresholds = self.thresholds[anchors]
        least, most = similarities.aminmax()
        if most.isnan():  # comparisons would hide it
            self.sums[anchors] = torch.nan
        # thresholds are sorted: the whole tile may exceed the first ones, and none of it the last ones
        exceeded = int((thresholds.amax(0) < least).sum())
        reachable = int((thresholds.amin(0) < most).sum())
        if reachable == 0:
            return None
        bins = torch.full_like(similarities, exceeded)
        exceeds = torch.empty_like(similarities)
        # a vectorized compare and add per threshold: torch.searchsorted takes six times as long for 20
        for k in range(exceeded, reachable):
            bins += torch.gt(similarities, thresholds[:, k : k + 1], out=exceeds)
        return bins.long()

    def _per_bin(self, bins: Tensor, values: Tensor) -> Tensor:
        return values.new_zeros(len(values), self.counts.shape[1]).scatter_add_(1, bins, values)

    def totals(self, anchors: slice) -> tuple[Tensor, Tensor]:
        """h_ij and the number of violations u_ij, summed over negatives, (anchors, K) each."""
        violations, sums = (_from_the_end(x[anchors]) for x in (self.counts, self.sums))
        excess = sums - violations * self.thresholds[anchors]
        dtype, order = self.thresholds.dtype, self.order[anchors]
        unsorted = [torch.empty_like(x).scatter_(1, order, x).to(dtype) for x in (excess, violations)]
        return unsorted[0], unsorted[1]


class Smooth:
    """phi(x) = t * softplus(x / t) or sigmoid(x / t) with temperature t, one threshold at a time."""

    def __init__(self, thresholds: Tensor, weights: Tensor | None, penalty: Penalty, temperature: float) -> None:
        """thresholds, weights: (B, K), as for `Hinge`."""
        self.temperature, self.thresholds = temperature, thresholds / temperature
        self.penalty, times_temperature = _SMOOTH[penalty]
        # factors that turn sigmoid(x / t) or log(1 + exp(x / t)), and its slope in x / t, into phi(x) and its slope
        self.value_scale = temperature if times_temperature else 1.0
        self.slope_scale = self.value_scale / temperature
        self.weights = None if weights is None else weights * self.slope_scale
        self.values = torch.zeros_like(thresholds, dtype=_sum_dtype(thresholds.device))
        self.slopes = torch.zeros_like(self.values)

    def visit(self, anchors: slice, similarities: Tensor) -> Tensor | None:
        scaled = similarities / self.temperature
        # buffers stay in the cache: allocating a tensor per threshold would take longer than computing it
        x, slope = torch.empty_like(scaled), torch.empty_like(scaled)
        weighted = None if self.weights is None else torch.zeros_like(scaled)
        for k, threshold in enumerate(self.thresholds[anchors].split(1, dim=1)):
            torch.sub(scaled, threshold, out=x)
            self.values[anchors, k] += self.penalty(x, slope).sum(1)
            if weighted is not None and self.weights is not None:
                self.slopes[anchors, k] += slope.sum(1)
                weighted.addcmul_(slope, self.weights[anchors, k : k + 1])
        return weighted

    def totals(self, anchors: slice) -> tuple[Tensor, Tensor]:
        """Sums of phi and of its slope over negatives, (anchors, K) each; slopes are 0 without weights."""
        values, slopes = self.values[anchors] * self.value_scale, self.slopes[anchors] * self.slope_scale
        return values.to(self.thresholds.dtype), slopes.to(self.thresholds.dtype)


def by_threshold(thresholds: Tensor, weights: Tensor | None, settings: GravisSettings) -> Hinge | Smooth:
    """The tile visitor of the penalty; KeyError if it has none."""
    if settings.penalty == "hinge":
        return Hinge(thresholds, weights)
    return Smooth(thresholds, weights, settings.penalty, settings.temperature)


def value_and_slope(x: Tensor, settings: GravisSettings) -> tuple[Tensor, Tensor]:
    """phi(x) and phi'(x) of the penalty; KeyError if log-sum-exp negatives do not support it."""
    return _PENALTIES[settings.penalty](x, settings.temperature)


def _hinge(x: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    return x.relu(), (x > 0).to(x.dtype)  # slope 0 at 0


def _tempered_softplus(x: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    scaled = x / temperature
    return logsigmoid(-scaled) * -temperature, torch.sigmoid(scaled)


_PENALTIES: Mapping[Penalty, Callable[[Tensor, float], tuple[Tensor, Tensor]]] = {
    "hinge": _hinge,
    "softplus": _tempered_softplus,
}


def _sigmoid(x: Tensor, slope: Tensor) -> Tensor:
    """sigmoid(x), in place of x, with its slope written to `slope`."""
    torch.addcmul(x.sigmoid_(), x, x, value=-1, out=slope)
    return x


def _softplus(x: Tensor, slope: Tensor) -> Tensor:
    """log(1 + exp(x)) with its slope written to `slope`; x is overwritten."""
    torch.sigmoid(x, out=slope)
    return logsigmoid(x.neg_()).neg_()


# phi as a function of x / t, and whether to multiply it by t
_SMOOTH: Mapping[Penalty, tuple[Callable[[Tensor, Tensor], Tensor], bool]] = {
    "softplus": (_softplus, True),
    "sigmoid": (_sigmoid, False),
}


def _from_the_end(bins: Tensor) -> Tensor:
    """For each threshold the total over the bins above it; bin 0 holds excluded pairs (-inf)."""
    return bins[:, 1:].flip(1).cumsum(1).flip(1)


def _sum_dtype(device: torch.device) -> torch.dtype:
    return torch.float32 if device.type == "mps" else torch.float64
