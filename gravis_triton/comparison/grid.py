"""The grid of a comparison, from a YAML file: encoders, tasks, label fractions and seeds."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gravis_triton.errors import UserError, did_you_mean
from gravis_triton.settings import (
    ClassificationSettings,
    CommandSettings,
    EvaluateSettings,
    PretrainSettings,
    SegmentationSettings,
    checked_value,
    checked_values,
    flat_hints,
    read_yaml,
)
from gravis_triton.settings.flat import RENAMED, at_home

Values = Mapping[str, Any]
Curves = Mapping[str, Mapping[int, str]]

PRETRAIN = "pretrain"
COMMAND = "command"  # pre-training with another toolkit
TASKS: Mapping[str, type[EvaluateSettings | ClassificationSettings | SegmentationSettings]] = {
    "evaluate": EvaluateSettings,
    "classification": ClassificationSettings,
    "segmentation": SegmentationSettings,
}
"""Name of a task in the grid -> its settings; `evaluate` is kNN and linear probe."""

_LENGTH = "total_views"  # of pre-training; a list makes one encoder per value
_OF_THE_GRID = (
    "data", "output_dir", "overwrite", "resume", "config", "seed", "split_seed", "label_fraction",
)  # fmt: skip
_HINTS = {
    "data": str, "output_dir": str, "baseline": str, "encoders": dict, "common": dict, "pretrain": dict,
    "tasks": dict, "label_fractions": list, "seeds": list, "official_split": bool,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Every encoder on every task with every label fraction and seed.

    encoders: name -> a value for `--encoder`; or the settings to pre-train it with, on top of `pretrain`; or the
    `command` of another toolkit that pre-trains it. common: settings for all jobs that have them. tasks: name (from
    `TASKS`) -> its settings. baseline: the encoder that the others are compared with. official_split: use the same
    train/validation split for all seeds. curves: name of an encoder that is pre-trained with several numbers of
    views -> views -> its name in `encoders`; the baseline may be one.
    """

    encoders: Mapping[str, str | Values]
    tasks: Mapping[str, Values]
    baseline: str
    data: str = "synthetic"
    output_dir: str = "runs/comparison"
    common: Values = field(default_factory=dict)
    pretrain: Values = field(default_factory=dict)
    label_fractions: tuple[float, ...] = (1.0,)
    seeds: tuple[int, ...] = (0, 1, 2)
    official_split: bool = False
    curves: Curves = field(default_factory=dict)


def read_grid(file: Path) -> Grid:
    """Read a grid from a YAML file. Raises UserError for unknown or missing settings and values of the wrong type."""
    values = checked_values(str(file), read_yaml(file), _HINTS)
    for name in ("encoders", "tasks"):
        if not values.get(name):
            raise UserError(f"{file}: no {name} given")
    tasks = {name: _settings(file, name, given) for name, given in values.pop("tasks").items()}
    named = {str(name): _encoder(file, str(name), given) for name, given in values.pop("encoders").items()}
    pretrain = values.pop("pretrain", {})
    encoders, curves = _with_each_length(file, named, pretrain.get(_LENGTH))
    if isinstance(pretrain.get(_LENGTH), list):  # now set per encoder
        del pretrain[_LENGTH]
    grid = Grid(
        encoders=encoders,
        curves=curves,
        tasks=tasks,
        pretrain=pretrain,
        baseline=values.pop("baseline", next(iter(named))),
        label_fractions=tuple(values.pop("label_fractions", [1.0])),
        seeds=tuple(values.pop("seeds", [0, 1, 2])),
        **values,
    )
    _check_grid(file, grid)
    return grid


def _settings(file: Path, name: str, given: Any) -> Values:
    if given is not None and not isinstance(given, dict):
        raise UserError(f"{file}: {name} must contain `name: value` lines, not {given!r}")
    return given or {}


def _encoder(file: Path, name: str, given: Any) -> str | Values:
    if not re.fullmatch(r"[\w.-]+", name):
        raise UserError(
            f"{file}: the encoder name {name!r} is used in paths: use only letters, digits, dots and dashes"
        )
    return at_home(given) if isinstance(given, str) else _settings(file, f"the encoder {name}", given)


def _with_each_length(
    file: Path, named: Mapping[str, str | Values], of_all: Any
) -> tuple[dict[str, str | Values], dict[str, dict[int, str]]]:
    """The encoders, with a list of total_views expanded to one each, and the curves. of_all: that of `pretrain`."""
    encoders: dict[str, str | Values] = {}
    curves: dict[str, dict[int, str]] = {}
    for name, given in named.items():
        if (
            isinstance(given, str)
            or COMMAND in given
            or not isinstance(views := given.get(_LENGTH, of_all), list)
        ):
            encoders[name] = given
            continue
        if not views or not all(type(one) is int for one in views):
            raise UserError(f"{file}: the encoder {name}: {_LENGTH} must be a list of integers, not {views}")
        curves[name] = {one: f"{name}-{one}" for one in views}
        if taken := [one for one in curves[name].values() if one in named]:
            raise UserError(
                f"{file}: the encoder {name} expands to {taken[0]}, which exists already: rename one of them"
            )
        encoders |= {f"{name}-{one}": {**given, _LENGTH: one} for one in views}
    return encoders, curves


def _check_grid(file: Path, grid: Grid) -> None:
    _check_names(file, "tasks", grid.tasks, TASKS)
    _check_names(file, "baseline", [grid.baseline], [*grid.curves, *grid.encoders])
    _check_settings(file, "common", grid.common, PretrainSettings, *TASKS.values())
    _check_settings(file, "pretrain", grid.pretrain, PretrainSettings)
    for name, settings in grid.encoders.items():
        if not isinstance(settings, str):
            kind = CommandSettings if COMMAND in settings else PretrainSettings
            _check_settings(file, f"the encoder {name}", settings, kind)
    for name, settings in grid.tasks.items():
        _check_settings(file, name, settings, TASKS[name])
        if "model" in settings:
            raise UserError(f"{file}: {name}: the encoder determines the model: set it in common or pretrain")
    _check_precisions(file, grid)
    for fraction in grid.label_fractions:
        if type(fraction) not in (int, float) or not 0 < fraction <= 1:
            raise UserError(f"{file}: a label fraction must be above 0 and at most 1, not {fraction!r}")
    for seed in grid.seeds:
        if type(seed) is not int or seed < 0:
            raise UserError(f"{file}: a seed must be a non-negative integer, not {seed!r}")
    for name, numbers in (("label_fractions", grid.label_fractions), ("seeds", grid.seeds)):
        if not numbers or len(set(numbers)) < len(numbers):
            raise UserError(f"{file}: {name} must be a list of distinct numbers, not {list(numbers)}")


def _check_settings(file: Path, where: str, settings: Values, *kinds: type[Any]) -> None:
    hints = {name: hint for kind in kinds for name, hint in flat_hints(kind).items()}
    for name in settings:
        if name in _OF_THE_GRID or (name == "encoder" and kinds != (PretrainSettings,)):
            raise UserError(f"{file}: {where}: {name} is set by the grid itself: remove it")
    renamed = {RENAMED.get(name, name): value for name, value in settings.items()}
    _check_names(file, where, renamed, hints)
    for name, value in renamed.items():
        for kind in kinds:
            if name in flat_hints(kind):
                checked_value(f"{file}: {where}", name, value, flat_hints(kind))


def _check_names(file: Path, where: str, names: Iterable[str], known: Iterable[str]) -> None:
    known = list(known)
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known) or f"; known names: {', '.join(sorted(known)[:20])}"
            raise UserError(f"{file}: {where}: unknown name {name!r}{hint}")


def _check_precisions(file: Path, grid: Grid) -> None:
    """All runs share the precision, as a process has only one."""
    for where, settings in (("pretrain", grid.pretrain), *grid.tasks.items(), *grid.encoders.items()):
        if not isinstance(settings, str) and "mixed_precision" in settings:
            raise UserError(f"{file}: {where}: mixed_precision is the same for all runs: set it in common")
