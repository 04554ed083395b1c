"""The grid of a comparison, a YAML file of encoders, tasks, label fractions and seeds, and its runs."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gravis_triton.errors import UserError, did_you_mean
from gravis_triton.evaluation.features import COLOR_HISTOGRAM
from gravis_triton.methods import find_method, pretrain_settings
from gravis_triton.models.encoder import check_model
from gravis_triton.models.open import WEIGHTS_FILES
from gravis_triton.run_directory import RunDirectory
from gravis_triton.settings import (
    DEFAULT_MODEL,
    ClassificationSettings,
    EvaluateSettings,
    FinetuneSettings,
    PretrainSettings,
    SegmentationSettings,
    changed_settings,
    check_values,
    complete,
    read_yaml,
    resolve,
    settings_of,
)
from gravis_triton.settings.resolve import Kind

Values = Mapping[str, Any]
JobSettings = PretrainSettings | EvaluateSettings | FinetuneSettings

PRETRAIN = "pretrain"
TASKS: Mapping[str, type[EvaluateSettings | ClassificationSettings | SegmentationSettings]] = {
    "evaluate": EvaluateSettings,
    "classification": ClassificationSettings,
    "segmentation": SegmentationSettings,
}
"""Name of a task in the grid -> its settings; `evaluate` is kNN and linear probe."""

_BY_NAME = ("random", "imagenet", COLOR_HISTOGRAM)  # encoders
_LENGTH = "total_views"  # of pre-training; a list makes one encoder per value
_BY_GRID = {"data", "output_dir", "overwrite", "resume", "config", "seed", "split_seed", "label_fraction"}
_HINTS = {
    "data": str, "output_dir": str, "baseline": str, "encoders": dict, "common": dict, "pretrain": dict,
    "tasks": dict, "label_fractions": tuple[float, ...], "seeds": tuple[int, ...], "official_split": bool,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Every encoder on every task with every label fraction and seed.

    encoders: name -> a value for `--encoder`, in which {seed} stands for the seed, or the settings to pre-train it
    with, on top of `pretrain`. common: settings for all jobs that have them. tasks: name (from `TASKS`) -> its
    settings. baseline: the encoder that the others are compared with. official_split: use the same train/validation
    split for all seeds. curves: name of an encoder that is pre-trained with several numbers of views -> views -> its
    name in `encoders`; the baseline may be one.
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
        return None if isinstance(self.settings, PretrainSettings) else self.settings.label_fraction

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
    try:
        raw = read_yaml(file)
        values = check_values(raw, _HINTS, dict.fromkeys(raw, "grid"))
        tasks = {name: given or {} for name, given in values.pop("tasks", {}).items()}
        named = {str(name): given for name, given in values.pop("encoders", {}).items()}
        _check_names(named, tasks, values.get("baseline"))
        pretrain = dict(values.pop("pretrain", {}))
        encoders, curves = _one_per_length(named, pretrain.pop(_LENGTH, None))
        baseline = values.pop("baseline", next(iter(named)))
        return Grid(encoders=encoders, tasks=tasks, baseline=baseline, pretrain=pretrain, curves=curves, **values)
    except UserError as error:
        raise UserError(f"{file}: {error}") from error


def _check_names(encoders: Values, tasks: Values, baseline: str | None) -> None:
    """Raise UserError for a missing, unknown or unfit name of an encoder or a task, and for settings without names."""
    if not encoders or not tasks:
        raise UserError(f"no {'tasks' if encoders else 'encoders'} given")
    if baseline not in (None, *encoders):
        raise UserError(f"baseline: there is no encoder {baseline!r}{did_you_mean(baseline, encoders)}")
    for name in encoders:
        if not re.fullmatch(r"[\w.-]+", name):
            raise UserError(f"the encoder name {name!r} is used in paths: use letters, digits, dots, dashes")
    for name in tasks:
        if name not in TASKS:
            raise UserError(f"unknown task {name!r}; tasks: {', '.join(TASKS)}")
    for name, given in {**encoders, **tasks}.items():
        if not isinstance(given, dict) and (name in tasks or not isinstance(given, str)):
            raise UserError(f"{name} must contain `name: value` lines, not {given!r}")


def _one_per_length(
    given: Mapping[str, str | Values], length: Any
) -> tuple[dict[str, str | Values], dict[str, dict[int, str]]]:
    """The encoders, one for each value of a list of total_views, and the curves; `length` is that of `pretrain`."""
    encoders: dict[str, str | Values] = {}
    curves: dict[str, dict[int, str]] = {}
    for name, encoder in given.items():
        views = length if isinstance(encoder, str) else encoder.get(_LENGTH, length)
        if isinstance(encoder, str):
            encoders[name] = str(Path(encoder).expanduser())
        elif not isinstance(views, list):
            encoders[name] = encoder if views is None else {**encoder, _LENGTH: views}
        else:
            curves[name] = {count: f"{name}-{count}" for count in views}
            if not views or given.keys() & set(curves[name].values()):
                raise UserError(f"the encoder {name}: {_LENGTH} {views} must make encoders with new names, NAME-NUMBER")
            encoders |= {f"{name}-{count}": {**encoder, _LENGTH: count} for count in views}
    return encoders, curves


def plan_runs(grid: Grid) -> list[PlannedRun]:
    """All runs in order: seed by seed, with each encoder pre-trained before its tasks.

    Raises UserError for an unknown setting, a value of the wrong type or out of range, and conflicting settings.
    """
    runs = [run for seed in grid.seeds for name in grid.encoders for run in _runs_of(grid, name, seed)]
    if all(run.task == PRETRAIN for run in runs):
        raise UserError("nothing to run: the color histogram is scored by evaluate only")
    known = {*settings_of(PretrainSettings), *(name for run in runs for name in vars(run.settings))}
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
    network: dict[str, Any] = {}
    if isinstance(given, str):
        encoder = given.replace("{seed}", str(seed))
    else:
        run = output / "encoders" / f"{name}-{seed}"
        own = {**grid.pretrain, **given}
        values = _known(grid.common, pretrain_settings(own)) | own
        yield PlannedRun(PRETRAIN, name, _resolve(pretrain_settings, f"{PRETRAIN} {name}", run, values, fixed))
        encoder = str(RunDirectory(run).encoder)
    if encoder in ("random", "imagenet") or encoder.endswith(WEIGHTS_FILES):  # others have an architecture
        of_all = {**grid.common, **grid.pretrain}
        network = {key: of_all[key] for key in ("model", "image_size") if key in of_all}
    for task, of_task in grid.tasks.items():
        if encoder == COLOR_HISTOGRAM and task != "evaluate":
            continue  # nothing to fine-tune
        if "model" in of_task:
            raise UserError(f"{task}: the encoder determines the model: set it in common or pretrain")
        common = {key: value for key, value in _known(grid.common, TASKS[task]).items() if key != "model"}
        for fraction in grid.label_fractions:
            run = output / task / f"{name}-{fraction:g}-{seed}"
            cell = {**fixed, "encoder": encoder, "label_fraction": fraction}
            values = {**network, **common, **of_task}
            yield PlannedRun(task, name, _resolve(TASKS[task], f"{task} {name}", run, values, cell))


def _known(values: Values, kind: type[Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name in settings_of(kind)}


def _resolve(kind: Kind[JobSettings], where: str, directory: Path, given: Values, fixed: Values) -> JobSettings:
    """The settings of a run: those in the grid file, and those that its place in the grid fixes."""
    if clash := given.keys() & (_BY_GRID | fixed.keys()):
        raise UserError(f"{where}: {min(clash)} is set by the grid itself: remove it")
    settings = resolve(kind, {**given, **fixed}, where=where)
    try:
        _completed(settings, {})
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
    again: dict[str, Any] = {"resume": "auto"} if hasattr(settings, "resume") else {"overwrite": True}
    return replace(settings, output_dir=str(directory), **again)


def check_encoders(grid: Grid) -> None:
    """Raise UserError for an encoder of the grid that does not exist on this machine, and for an unknown model."""
    check_model({**grid.common, **grid.pretrain}.get("model", DEFAULT_MODEL))
    for name, given in grid.encoders.items():
        if not isinstance(given, str) or given in _BY_NAME or given.startswith("hf:"):
            continue
        for path in {given.replace("{seed}", str(seed)) for seed in grid.seeds}:
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
    settings = complete(settings, saved)
    if isinstance(settings, PretrainSettings):
        return find_method(settings.method).complete(settings)
    return settings


def _is_same_path(saved: str, expected: str) -> bool:
    """Whether two paths are of the same data or encoder. A pre-trained encoder is identified by its run: the directory
    of the comparison may have moved."""
    old, new = Path(saved), Path(expected)
    moved = old.parts[-3:] == new.parts[-3:] and new.parts[-3:-2] == ("encoders",)
    return old.absolute() == new.absolute() or moved
