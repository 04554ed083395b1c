"""The grid of a comparison, a YAML file of encoders, tasks, label fractions and seeds, and its runs."""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_type_hints

from gravis_triton.errors import UserError, did_you_mean
from gravis_triton.evaluation.features import COLOR_HISTOGRAM
from gravis_triton.methods import find_method, pretrain_settings
from gravis_triton.models.encoder import check_model
from gravis_triton.models.open import WEIGHTS_FILES
from gravis_triton.run_directory import RunDirectory
from gravis_triton.settings import jobs
from gravis_triton.settings.config import changed_settings, read_yaml
from gravis_triton.settings.defaults import complete_as_saved
from gravis_triton.settings.fields import settings_of
from gravis_triton.settings.resolve import Kind, check_values, resolve

Values = Mapping[str, Any]
JobSettings = jobs.PretrainSettings | jobs.EvaluateSettings | jobs.FinetuneSettings

PRETRAIN = "pretrain"
TASKS: Mapping[str, type[jobs.EvaluateSettings | jobs.FinetuneSettings]] = {
    "evaluate": jobs.EvaluateSettings,
    "classification": jobs.ClassificationSettings,
    "segmentation": jobs.SegmentationSettings,
}
"""Name of a task in the grid -> its settings; `evaluate` is kNN and linear probe."""

_BY_NAME = ("random", "imagenet", COLOR_HISTOGRAM)  # encoders
_LENGTH = "total_views"  # of pre-training; a list makes one encoder per value
_BY_GRID = {"data", "output_dir", "overwrite", "resume", "config", "seed", "split_seed", "label_fraction"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Every encoder on every task with every label fraction and seed.

    encoders: name -> a value for `--encoder`, in which {seed} stands for the seed, or the settings to pre-train it
    with, on top of `pretrain`. common: settings for all jobs that have them. tasks: name (from `TASKS`) -> its
    settings. baseline: the encoder that the others are compared with. official_split: use the same train/validation
    split for all seeds. curves: name of an encoder that is pre-trained with several numbers of views -> views -> its
    name in `encoders`; the baseline may be one.
    """

    encoders: dict[Any, Any]
    tasks: dict[Any, Any]
    baseline: str
    data: str = "synthetic"
    output_dir: str = "runs/comparison"
    common: dict[Any, Any] = field(default_factory=dict)
    pretrain: dict[Any, Any] = field(default_factory=dict)
    label_fractions: tuple[float, ...] = (1.0,)
    seeds: tuple[int, ...] = (0, 1, 2)
    official_split: bool = False
    curves: Mapping[str, Mapping[int, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One run of a comparison: of `PRETRAIN` or a task of `TASKS`, for an encoder of the grid."""

    task: str
    encoder: str
    settings: JobSettings

    @property
    def seed(self) -> int:
        return self.settings.seed

    @property
    def directory(self) -> RunDirectory:
        return RunDirectory(str(self.settings.output_dir))

    @property
    def label_fraction(self) -> float | None:
        """None for pre-training."""
        return None if isinstance(self.settings, jobs.PretrainSettings) else self.settings.label_fraction

    @property
    def finished(self) -> bool:
        return self.directory.summary.is_file()

    @property
    def name(self) -> str:
        labels = "" if self.label_fraction is None else f" with {self.label_fraction * 100:g}% of the labels"
        return f"{self.task} {self.encoder}{labels}, seed {self.seed}"


def read_grid(file: Path) -> Grid:
    """Read a grid from a YAML file.

    Raises UserError for unknown and missing names; `plan_runs` checks the settings of the jobs.
    """
    raw, hints = read_yaml(file), get_type_hints(Grid)
    del hints["curves"]
    try:
        values = check_values(raw, hints, dict.fromkeys(raw, "grid"))
        named = {str(name): given for name, given in values.get("encoders", {}).items()}
        tasks = {name: given or {} for name, given in values.get("tasks", {}).items()}
        if not named or not tasks:
            raise UserError(f"no {'tasks' if named else 'encoders'} given")
        baseline = values.setdefault("baseline", next(iter(named)))
        if baseline not in named:
            raise UserError(f"baseline: there is no encoder {baseline!r}{did_you_mean(baseline, named)}")
        for name, given in tasks.items():
            if name not in TASKS:
                raise UserError(f"unknown task {name!r}; tasks: {', '.join(TASKS)}")
            _check_lines(name, given)
        pretrain = dict(values.get("pretrain", {}))
        length = pretrain.pop(_LENGTH) if isinstance(pretrain.get(_LENGTH), list) else None
        encoders, curves = _one_per_length(named, length)
        return Grid(**values | {"encoders": encoders, "curves": curves, "tasks": tasks, "pretrain": pretrain})
    except UserError as error:
        raise UserError(f"{file}: {error}") from error


def _one_per_length(given: Values, of_all: list[int] | None) -> tuple[dict[str, Any], dict[str, dict[int, str]]]:
    """The encoders, one for each value of a list of total_views, and the curves; `of_all` is that of `pretrain`."""
    encoders: dict[str, Any] = {}
    curves: dict[str, dict[int, str]] = {}
    for name, encoder in given.items():
        if not re.fullmatch(r"[\w.-]+", name):
            raise UserError(f"the encoder name {name!r} is used in paths: use letters, digits, dots, dashes")
        if isinstance(encoder, str):
            encoders[name] = os.path.expanduser(encoder)
            continue
        _check_lines(name, encoder)
        views = encoder.get(_LENGTH, of_all)
        if isinstance(views, list):
            curves[name] = {count: f"{name}-{count}" for count in views}
            if not views or given.keys() & set(curves[name].values()):
                raise UserError(f"the encoder {name}: {_LENGTH} {views} must make encoders with new names, NAME-NUMBER")
            encoders |= {own: {**encoder, _LENGTH: count} for count, own in curves[name].items()}
        else:
            encoders[name] = encoder
    return encoders, curves


def _check_lines(name: str, given: Any) -> None:
    if not isinstance(given, dict):
        raise UserError(f"{name} must contain `name: value` lines, not {given!r}")


def plan_runs(grid: Grid) -> list[PlannedRun]:
    """All runs in order: seed by seed, with each encoder pre-trained before its tasks.

    Raises UserError for an unknown setting, a value of the wrong type or out of range, and conflicting settings.
    """
    runs = [run for seed in grid.seeds for name in grid.encoders for run in _runs_of(grid, name, seed)]
    if all(run.task == PRETRAIN for run in runs):
        raise UserError(
            "nothing to run: give seeds and label_fractions; the color histogram is scored by evaluate only"
        )
    known = {*settings_of(jobs.PretrainSettings), *(name for run in runs for name in vars(run.settings))}
    for name in grid.common:
        if name not in known:
            raise UserError(f"common: no job has the setting {name!r}{did_you_mean(name, known)}")
    if len({run.settings.mixed_precision for run in runs}) > 1:
        raise UserError("mixed_precision must be the same for all runs: set it in common")
    if len({run.directory.path for run in runs}) < len(runs):
        raise UserError("label_fractions and seeds must be different numbers each")
    return runs


def _runs_of(grid: Grid, name: str, seed: int) -> Iterator[PlannedRun]:
    given, output = grid.encoders[name], Path(grid.output_dir)
    fixed = {"data": grid.data, "seed": seed, **({} if grid.official_split else {"split_seed": seed})}
    if isinstance(given, str):
        encoder = given.replace("{seed}", str(seed))
    else:
        run = RunDirectory(output / "encoders" / f"{name}-{seed}")
        own = {**grid.pretrain, **given}
        common = _known(grid.common, pretrain_settings(own))
        yield _plan(PRETRAIN, name, run, {**common, **own}, fixed)
        encoder = str(run.encoder)
    common = {key: value for key, value in grid.common.items() if key != "model"}
    if encoder in ("random", "imagenet") or encoder.endswith(WEIGHTS_FILES):  # others have an architecture
        of_all = {**grid.common, **grid.pretrain}
        common = {key: of_all[key] for key in ("model", "image_size") if key in of_all} | common
    for task, of_task in grid.tasks.items():
        if encoder == COLOR_HISTOGRAM and task != "evaluate":
            continue  # nothing to fine-tune
        if "model" in of_task:
            raise UserError(f"{task}: the encoder determines the model: set it in common or pretrain")
        values = {**_known(common, TASKS[task]), **of_task}
        for fraction in grid.label_fractions:
            run = RunDirectory(output / task / f"{name}-{fraction:g}-{seed}")
            yield _plan(task, name, run, values, {**fixed, "encoder": encoder, "label_fraction": fraction})


def _known(values: Values, kind: type[Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name in settings_of(kind)}


def _plan(task: str, encoder: str, run: RunDirectory, given: Values, fixed: Values) -> PlannedRun:
    """A run with the settings in the grid file, and those that its place in the grid fixes."""
    where = f"{task} {encoder}"
    if clash := given.keys() & (_BY_GRID | fixed.keys()):
        raise UserError(f"{where}: {min(clash)} is set by the grid itself: remove it")
    kind: Kind[JobSettings] = pretrain_settings if task == PRETRAIN else TASKS[task]
    settings = resolve(kind, {**given, **fixed}, where=where)
    again: dict[str, Any] = {"overwrite": True} if task == "evaluate" else {"resume": "auto"}
    return PlannedRun(task, encoder, replace(settings, output_dir=str(run), **again))


def check_encoders(grid: Grid) -> None:
    """Raise UserError for an encoder of the grid that does not exist on this machine, and for an unknown model."""
    model = {**grid.common, **grid.pretrain}.get("model")
    if isinstance(model, str):
        check_model(model)
    for name, given in grid.encoders.items():
        if not isinstance(given, str) or given in _BY_NAME or given.startswith("hf:"):
            continue
        for path in dict.fromkeys(given.replace("{seed}", str(seed)) for seed in grid.seeds):
            if not Path(path).exists():
                raise UserError(
                    f"encoder {name}: there is no {path}; give {', '.join(_BY_NAME)}, hf:OWNER/NAME, a run or a file "
                    "of weights, or settings to pre-train one"
                )


def check_consistent(run: PlannedRun) -> None:
    """Raise UserError if the directory already has a run, finished or not, with settings other than the grid's.

    Not compared are settings that an older config.yaml lacks, and settings that do not change any result.
    """
    file = run.directory.config
    if not file.is_file():
        return
    saved = read_yaml(file)
    changed = changed_settings(_completed(run.settings, saved), saved)
    planned = vars(run.settings)
    for name in sorted(changed, key=lambda name: planned[name] is None):  # others follow from those that are given
        before, now = changed[name]
        if not (name in ("data", "encoder") and _is_same_path(str(before), str(now))):
            moved = "link the images at the old path if they were only moved, " if name == "data" else ""
            raise UserError(
                f"{run.directory} was run with {name} {before}, but the grid has {now}: "
                f"{moved}delete that directory or use another --output-dir"
            )


def _completed(settings: JobSettings, saved: Values) -> JobSettings:
    """The settings as a run saves them."""
    settings = complete_as_saved(settings, saved)
    if isinstance(settings, jobs.PretrainSettings):
        return find_method(settings.method).complete(settings)
    return settings


def _is_same_path(saved: str, expected: str) -> bool:
    """Whether two paths are of the same data or encoder. A pre-trained encoder is identified by its run: the directory
    of the comparison may have moved."""
    old, new = Path(saved), Path(expected)
    moved = old.parts[-3:] == new.parts[-3:] and new.parts[-3:-2] == ("encoders",)
    return old.absolute() == new.absolute() or moved
