"""The grid of a comparison, a YAML file of encoders, tasks, label fractions and seeds, and its runs."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gravis_triton.errors import UserError, did_you_mean
from gravis_triton.evaluation.features import COLOR_HISTOGRAM
from gravis_triton.methods import METHODS, find_method, pretrain_settings
from gravis_triton.models.encoder import check_model
from gravis_triton.models.open import WEIGHTS_FILES
from gravis_triton.run_directory import RunDirectory
from gravis_triton.settings import (
    DEFAULT_MODEL,
    IRRELEVANT,
    ClassificationSettings,
    EvaluateSettings,
    FinetuneSettings,
    PretrainSettings,
    SegmentationSettings,
    check_values,
    flatten,
    override,
    read_settings,
    read_yaml,
    resolve,
    resolve_evaluate,
    resolve_finetune,
    resolve_pretrain,
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
_BY_GRID = ("data", "output_dir", "overwrite", "resume", "config", "seed", "split_seed", "label_fraction")
_HINTS = {
    "data": str, "output_dir": str, "baseline": str, "encoders": dict, "common": dict, "pretrain": dict,
    "tasks": dict, "label_fractions": list, "seeds": list, "official_split": bool,
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


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRun:
    """One run of a comparison. task: `PRETRAIN`, with label_fraction None, or a name of `TASKS`."""

    task: str
    encoder: str
    label_fraction: float | None
    seed: int
    directory: RunDirectory
    settings: JobSettings

    @property
    def finished(self) -> bool:
        return self.directory.summary.is_file()

    @property
    def name(self) -> str:
        labels = "" if self.label_fraction is None else f" with {self.label_fraction * 100:g}% of the labels"
        return f"{self.task} {self.encoder}{labels}, seed {self.seed}"


def read_grid(file: Path) -> Grid:
    """Read a grid from a YAML file.

    Raises UserError for unknown, missing and misplaced names; `plan_runs` checks the values of the jobs' settings.
    """
    try:
        raw = read_yaml(file)
        values = check_values(raw, _HINTS, dict.fromkeys(raw, "grid"))
        values["encoders"] = {str(name): given for name, given in values.get("encoders", {}).items()}
        values["tasks"] = {name: given or {} for name, given in values.get("tasks", {}).items()}
        _check(values)
        encoders, curves = _one_per_length(values["encoders"], values.get("pretrain", {}).pop(_LENGTH, None))
        values |= {name: tuple(values[name]) for name in ("label_fractions", "seeds") if name in values}
        values.setdefault("baseline", next(iter(values["encoders"])))
        return Grid(**(values | {"encoders": encoders, "curves": curves}))
    except UserError as error:
        raise UserError(f"{file}: {error}") from error


def _check(values: Values) -> None:
    """Raise UserError for a name that is unknown, missing, unfit for a path, or set in the wrong place."""
    encoders, tasks, common = values["encoders"], values["tasks"], values.get("common", {})
    if not encoders or not tasks:
        raise UserError(f"no {'tasks' if encoders else 'encoders'} given")
    for name in encoders:
        if not re.fullmatch(r"[\w.-]+", name):
            raise UserError(
                f"the encoder name {name!r} is used in paths: use letters, digits, dots and dashes"
            )
    if (baseline := values.get("baseline")) not in (None, *encoders):
        raise UserError(f"baseline: there is no encoder {baseline!r}{did_you_mean(baseline, encoders)}")
    for name in tasks:
        if name not in TASKS:
            raise UserError(f"tasks: unknown task {name!r}; tasks: {', '.join(TASKS)}")
    pretraining = [pretrain_settings({"method": name}) for name in METHODS]
    known = {name for kind in (*pretraining, *TASKS.values()) for name in settings_of(kind)}
    for name in common:
        if name not in known:
            raise UserError(f"common: unknown setting {name!r}{did_you_mean(name, known)}")
    trained = {f"the encoder {name}": given for name, given in encoders.items() if not isinstance(given, str)}
    _check_place({"common": common}, encoder="set by the grid itself: remove it")
    precision = "the same for all runs: set it in common"
    _check_place({"pretrain": values.get("pretrain", {}), **trained}, mixed_precision=precision)
    model = "determined by the encoder: set it in common or pretrain"
    _check_place(tasks, mixed_precision=precision, model=model, encoder="set by the grid itself: remove it")
    for name in ("label_fractions", "seeds"):
        if (numbers := values.get(name)) is not None and len(set(map(str, numbers))) != len(numbers or [""]):
            raise UserError(f"{name} must be a list of distinct numbers, not {numbers}")


def _check_place(sections: Mapping[str, Any], **misplaced: str) -> None:
    """Raise UserError for a section without `name: value` lines, or with a name that is set elsewhere."""
    for where, settings in sections.items():
        if not isinstance(settings, dict):
            raise UserError(f"{where} must contain `name: value` lines, not {settings!r}")
        for name in settings:
            if name in _BY_GRID or name in misplaced:
                raise UserError(
                    f"{where}: {name} is {misplaced.get(name, 'set by the grid itself: remove it')}"
                )


def _one_per_length(
    given: Mapping[str, str | Values], length: Any
) -> tuple[dict[str, str | Values], dict[str, dict[int, str]]]:
    """The encoders, one for each value of a list of total_views, and the curves; `length` is that of `pretrain`."""
    encoders: dict[str, str | Values] = {}
    curves: dict[str, dict[int, str]] = {}
    for name, encoder in given.items():
        if isinstance(encoder, str):
            encoders[name] = str(Path(encoder).expanduser())
            continue
        views = encoder.get(_LENGTH, length)
        if not isinstance(views, list):
            encoders[name] = encoder if views is None else {**encoder, _LENGTH: views}
            continue
        if not views:
            raise UserError(f"the encoder {name}: {_LENGTH} must be an integer or a list of them, not []")
        curves[name] = {count: f"{name}-{count}" for count in views}
        if taken := given.keys() & set(curves[name].values()):
            raise UserError(f"the encoder {name} expands to {min(taken)}, which exists already: rename one")
        encoders |= {f"{name}-{count}": {**encoder, _LENGTH: count} for count in views}
    return encoders, curves


def plan_runs(grid: Grid) -> list[PlannedRun]:
    """All runs in order: seed by seed, with each encoder pre-trained before its tasks.

    Raises UserError for a setting of the wrong type or out of range, and for conflicting settings.
    """
    runs = [run for seed in grid.seeds for name in grid.encoders for run in _runs_of(grid, name, seed)]
    if not runs:
        raise UserError("nothing to run: the color histogram is scored by evaluate only")
    return runs


def _runs_of(grid: Grid, name: str, seed: int) -> Iterator[PlannedRun]:
    given, output = grid.encoders[name], Path(grid.output_dir)
    fixed = {"data": grid.data, "seed": seed, **({} if grid.official_split else {"split_seed": seed})}
    if isinstance(given, str):
        encoder = given.replace("{seed}", str(seed))
    else:
        directory = RunDirectory(output / "encoders" / f"{name}-{seed}")
        encoder = str(directory.encoder)
        values = {**grid.pretrain, **given, **fixed}
        values = {**_known(grid.common, pretrain_settings(values)), **values}
        yield _planned(PRETRAIN, pretrain_settings, name, None, seed, directory, values)
    network = {}
    if encoder in ("random", "imagenet") or encoder.endswith(WEIGHTS_FILES):  # others have an architecture
        network = {key: value for key, value in {**grid.common, **grid.pretrain}.items()
                   if key in ("model", "image_size")}  # fmt: skip
    for task, own in grid.tasks.items():
        kind = TASKS[task]
        if encoder == COLOR_HISTOGRAM and kind is not EvaluateSettings:
            continue  # nothing to fine-tune
        common = {key: value for key, value in _known(grid.common, kind).items() if key != "model"}
        for fraction in grid.label_fractions:
            directory = RunDirectory(output / task / f"{name}-{fraction:g}-{seed}")
            values = {**network, **common, **own, **fixed, "encoder": encoder, "label_fraction": fraction}
            yield _planned(task, kind, name, fraction, seed, directory, values)


def _known(values: Values, kind: type[JobSettings]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name in settings_of(kind)}


def _planned(
    task: str,
    kind: Kind[JobSettings],
    encoder: str,
    fraction: float | None,
    seed: int,
    directory: RunDirectory,
    values: Values,
) -> PlannedRun:
    settings = resolve(kind, values, where=f"{task} {encoder}")
    try:
        _resolved(settings, {})
    except UserError as error:
        raise UserError(f"{task} {encoder}: {error}") from error
    again = {"resume": "auto"} if "resume" in flatten(settings) else {"overwrite": True}
    settings = override(settings, {"output_dir": str(directory), **again})
    return PlannedRun(task=task, encoder=encoder, label_fraction=fraction, seed=seed, directory=directory,
                      settings=settings)  # fmt: skip


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
    try:
        names = read_yaml(file).keys()
        saved = flatten(read_settings(type(run.settings), file))
    except UserError as error:
        raise UserError(f"{error}: delete {run.directory}") from error
    planned, expected = flatten(run.settings), flatten(_resolved(run.settings, saved))
    for name in sorted(
        expected, key=lambda name: planned[name] is None
    ):  # settings that follow from others come last
        if name in names and name not in IRRELEVANT and not _same(name, saved[name], expected[name]):
            moved = "link the images at the old path if they were only moved, " if name == "data" else ""
            raise UserError(
                f"{run.directory} was run with {name} {saved[name]}, but the grid has {expected[name]}: "
                f"{moved}delete that directory or use another --output-dir"
            )


def _resolved(settings: JobSettings, saved: Values) -> JobSettings:
    """The settings as a run saves them; what the encoder or the machine sets is taken from `saved`."""
    if settings.run.mixed_precision == "auto":
        settings = override(settings, {"mixed_precision": saved.get("mixed_precision", "auto")})
    if isinstance(settings, PretrainSettings):
        decided = {} if settings.model.encoder in ("random", "imagenet") else saved
        model, size = decided.get("model") or DEFAULT_MODEL, decided.get("image_size")
        complete = find_method(settings.method).complete(settings.method_settings)
        return replace(resolve_pretrain(settings, model=model, image_size=size), method_settings=complete)
    image_size = settings.encoder.image_size or saved.get("image_size") or 1
    if isinstance(settings, EvaluateSettings):
        return resolve_evaluate(settings, image_size=image_size)
    return resolve_finetune(settings, image_size=image_size)


def _same(name: str, saved: Any, expected: Any) -> bool:
    if saved == expected:
        return True
    if name not in ("data", "encoder") or not isinstance(saved, str) or not isinstance(expected, str):
        return False
    old, new = Path(saved), Path(expected)
    # a pre-trained encoder is identified by its run: the directory of the comparison may have moved
    moved = old.parts[-3:] == new.parts[-3:] and new.parts[-3:-2] == ("encoders",)
    return old.absolute() == new.absolute() or moved
