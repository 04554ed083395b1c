"""Scores over seeds, and every encoder compared with the baseline."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from gravis_triton.comparison.bootstrap import (
    LEVEL,
    RESAMPLES,
    Floats,
    Interval,
    paired_interval,
    resampled_scores,
)
from gravis_triton.comparison.grid import Curves
from gravis_triton.comparison.results import SCORES, Result, read_predictions
from gravis_triton.errors import UserError
from gravis_triton.files import write_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One score of one encoder on one task with one label fraction.

    values: seed -> score. spread: standard deviation over the seeds (n - 1), None for one seed. against_baseline: None
    for the baseline itself and if no seed has both.
    """

    task: str
    label_fraction: float
    encoder: str
    score: str
    values: dict[int, float]
    mean: float
    spread: float | None
    against_baseline: Interval | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """entries: for every task, label fraction, encoder and score, in grid order. curves: as in `Grid`."""

    baseline: str
    entries: tuple[Entry, ...]
    curves: Curves = field(default_factory=dict)

    def of(self, task: str, score: str) -> list[Entry]:
        return [entry for entry in self.entries if (entry.task, entry.score) == (task, score)]

    @property
    def tasks(self) -> list[str]:
        found = {entry.task for entry in self.entries}
        return [task for task in SCORES if task in found]


@dataclass(frozen=True, slots=True)
class _Resampled:
    """Bootstrap scores of one run: score name -> (resamples,), and the images they are from."""

    ids: tuple[str, ...]
    labels: bytes
    scores: dict[str, Floats]


def compare(
    results: Sequence[Result], *, baseline: str, scored: Sequence[str], curves: Curves | None = None
) -> Comparison:
    """Means and spreads over seeds, and differences from the encoder `baseline`; if it was pre-trained with several
    numbers of views, from the one with the same number.

    A difference is over the same task, label fraction and seeds; its interval is that of `paired_interval` over the
    test images' predictions. scored: the classes whose AUCs are averaged, all if empty.
    Raises UserError if two encoders were tested on different images, or predictions are missing.
    """
    curves = curves or {}
    groups: dict[tuple[str, float], dict[str, dict[int, Result]]] = defaultdict(lambda: defaultdict(dict))
    for result in results:
        groups[result.task, result.label_fraction][result.encoder][result.seed] = result
    entries: list[Entry] = []
    for (task, _), encoders in groups.items():
        sampled = {
            name: {seed: _resample(one, scored) for seed, one in seeds.items()}
            for name, seeds in encoders.items()
        }
        for name, seeds in encoders.items():
            for score in SCORES[task]:
                against, other = None, _baseline_of(name, baseline, curves)
                if name != other and other in encoders:
                    against = _against(seeds, encoders[other], sampled[name], sampled[other], score)
                entries.append(_entry(seeds, score, against))
    return Comparison(baseline, tuple(entries), curves)


def _baseline_of(encoder: str, baseline: str, curves: Curves) -> str:
    """The encoder to compare with: the baseline; if it is a curve, the one with as many views, else with the most."""
    if baseline not in curves:
        return baseline
    views = [views for curve in curves.values() for views, name in curve.items() if name == encoder]
    return curves[baseline].get(views[0] if views else max(curves[baseline]), "")


def _resample(result: Result, scored: Sequence[str]) -> _Resampled:
    predictions = read_predictions(result, scored)
    return _Resampled(predictions.ids, predictions.strata.tobytes(), resampled_scores(predictions))


def _entry(seeds: Mapping[int, Result], score: str, against: Interval | None) -> Entry:
    first = next(iter(seeds.values()))
    values = {seed: result.values.get(score, float("nan")) for seed, result in seeds.items()}
    return Entry(
        task=first.task,
        label_fraction=first.label_fraction,
        encoder=first.encoder,
        score=score,
        values=values,
        mean=float(np.mean(list(values.values()))),
        spread=float(np.std(list(values.values()), ddof=1)) if len(values) > 1 else None,
        against_baseline=against,
    )


def _against(
    seeds: Mapping[int, Result],
    base_seeds: Mapping[int, Result],
    sampled: Mapping[int, _Resampled],
    base_sampled: Mapping[int, _Resampled],
    score: str,
) -> Interval | None:
    shared = [seed for seed in seeds if seed in base_seeds]
    if not shared:
        return None
    for seed in shared:
        one, base = sampled[seed], base_sampled[seed]
        if (one.ids, one.labels) != (base.ids, base.labels):
            raise UserError(
                f"{seeds[seed].images} and {base_seeds[seed].images} have different test images: "
                "delete the older run"
            )
    observed = [seeds[s].values.get(score, np.nan) - base_seeds[s].values.get(score, np.nan) for s in shared]
    resampled = [sampled[s].scores[score] - base_sampled[s].scores[score] for s in shared]
    return paired_interval(observed, resampled, same_images=_all_equal(sampled[s].ids for s in shared))


def _all_equal(ids: Iterable[tuple[str, ...]]) -> bool:
    return len(set(ids)) == 1


def write_comparison(file: Path, comparison: Comparison) -> None:
    """Write comparison.json: every entry, with the scores of all seeds."""
    content = {"baseline": comparison.baseline, "level": LEVEL, "resamples": RESAMPLES}
    write_json(file, {**content, "entries": [asdict(entry) for entry in comparison.entries]})
