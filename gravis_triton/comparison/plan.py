"""The runs of a grid: one job each, in its own directory."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gravis_triton.comparison.grid import COMMAND, PRETRAIN, TASKS, Grid, Values
from gravis_triton.errors import UserError
from gravis_triton.evaluation import COLOR_HISTOGRAM
from gravis_triton.losses import resolve_loss
from gravis_triton.models.encoder import check_model
from gravis_triton.models.open import WEIGHTS_FILES
from gravis_triton.run_directory import RunDirectory
from gravis_triton.settings import (
    DEFAULT_MODEL,
    IRRELEVANT,
    CommandSettings,
    EvaluateSettings,
    FinetuneSettings,
    PretrainSettings,
    flat_hints,
    flatten,
    override,
    read_settings,
    read_yaml,
    resolve_command,
    resolve_evaluate,
    resolve_finetune,
    resolve_pretrain,
    settings_from,
)
from gravis_triton.settings.flat import RENAMED

_BY_NAME = ("random", "imagenet", COLOR_HISTOGRAM)

JobSettings = PretrainSettings | CommandSettings | EvaluateSettings | FinetuneSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRun:
    """One run of a comparison. task: a name of `TASKS`, `PRETRAIN` or `COMMAND`; label_fraction: None for the last two.

    named: names of the settings in the grid.
    """

    task: str
    encoder: str
    label_fraction: float | None
    seed: int
    directory: RunDirectory
    settings: JobSettings
    named: frozenset[str]

    @property
    def finished(self) -> bool:
        return self.directory.summary.is_file()

    @property
    def name(self) -> str:
        labels = "" if self.label_fraction is None else f" with {self.label_fraction * 100:g}% of the labels"
        return f"{self.task} {self.encoder}{labels}, seed {self.seed}"


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
    pretraining: Values = {**grid.common, **grid.pretrain}
    split = {} if grid.official_split else {"split_seed": seed}
    fixed = {"data": grid.data, "seed": seed, **split}
    if isinstance(given, str):
        encoder = given
        pretrained = given not in ("random", "imagenet") and Path(given).suffix not in WEIGHTS_FILES
    else:
        directory = RunDirectory(output / "encoders" / f"{name}-{seed}")
        encoder, pretrained = str(directory.encoder), True
        job: type[JobSettings] = CommandSettings if COMMAND in given else PretrainSettings
        of_all = _known(pretraining, job)
        task = COMMAND if job is CommandSettings else PRETRAIN
        yield _planned(task, job, name, None, seed, directory, {**of_all, **given, **fixed})
    network: Values = {name: pretraining[name] for name in ("model", "image_size") if name in pretraining}
    for task, own in grid.tasks.items():
        kind = TASKS[task]
        if encoder == COLOR_HISTOGRAM and kind is not EvaluateSettings:
            continue  # nothing to fine-tune
        values = {**_known(grid.common, kind), **own, **fixed, "encoder": encoder}
        values.pop("model", None)  # a pre-trained encoder has its own
        if not pretrained:
            values = {**network, **values}
        for fraction in grid.label_fractions:
            directory = RunDirectory(output / task / f"{name}-{fraction:g}-{seed}")
            values_of_run = {**values, "label_fraction": fraction}
            yield _planned(task, kind, name, fraction, seed, directory, values_of_run)


def _known(values: Values, kind: type[JobSettings]) -> dict[str, Any]:
    hints = flat_hints(kind)
    return {name: value for name, value in values.items() if RENAMED.get(name, name) in hints}


def _planned(
    task: str,
    kind: type[JobSettings],
    encoder: str,
    fraction: float | None,
    seed: int,
    directory: RunDirectory,
    values: Values,
) -> PlannedRun:
    settings = settings_from(kind, values, where=f"{task} {encoder}")
    try:
        _resolved(settings, {})
    except UserError as error:
        raise UserError(f"{task} {encoder}: {error}") from error
    again = {"resume": "auto"} if "resume" in flat_hints(kind) else {"overwrite": True}
    return PlannedRun(
        task=task,
        encoder=encoder,
        label_fraction=fraction,
        seed=seed,
        directory=directory,
        settings=override(settings, {"output_dir": str(directory), **again}),
        named=frozenset(values),
    )


def check_encoders(grid: Grid) -> None:
    """Raise UserError for an encoder of the grid that does not exist on this machine, and for an unknown model."""
    check_model({**grid.common, **grid.pretrain}.get("model", DEFAULT_MODEL))
    for name, given in grid.encoders.items():
        if not isinstance(given, str) or given in _BY_NAME or given.startswith("hf:"):
            continue
        if not Path(given).exists():
            raise UserError(
                f"encoder {name}: there is no {given}; give {', '.join(_BY_NAME)}, hf:OWNER/NAME, a run or a file of "
                "weights, or settings to pre-train one"
            )


def check_consistent(run: PlannedRun) -> None:
    """Raise UserError if the directory already has a run, finished or not, with settings other than the grid's.

    Not compared are settings that an older config.yaml lacks, settings that do not change any result, and those of an
    unfinished command, which starts from scratch.
    """
    file = run.directory.config
    if not file.is_file():
        return
    try:
        names = {RENAMED.get(name, name) for name in read_yaml(file)}
        saved = flatten(read_settings(type(run.settings), file))
    except UserError as error:
        raise UserError(f"{error}: delete {run.directory}") from error
    if run.task == COMMAND and not run.finished:
        return
    expected = flatten(_resolved(run.settings, saved))
    for name in sorted(expected, key=lambda name: name not in run.named):  # settings in the grid first
        if name in names and name not in IRRELEVANT and not _same(name, saved[name], expected[name]):
            moved = "link the images at the old path if they were only moved, " if name == "data" else ""
            raise UserError(
                f"{run.directory} was run with {name} {saved[name]}, but the grid has {expected[name]}: "
                f"{moved}delete that directory or use another --output-dir"
            )


def _resolved(settings: JobSettings, saved: Mapping[str, Any]) -> JobSettings:
    """The settings as a run saves them; an image size that the encoder sets is taken from `saved`."""
    if isinstance(settings, CommandSettings):
        return resolve_command(settings)
    if isinstance(settings, PretrainSettings):
        decided = {} if settings.model.encoder in ("random", "imagenet") else saved
        model, size = decided.get("model") or DEFAULT_MODEL, decided.get("image_size")
        return resolve_loss(resolve_pretrain(settings, model=model, image_size=size))
    image_size = settings.encoder.image_size or saved.get("image_size") or 1
    if isinstance(settings, EvaluateSettings):
        return resolve_evaluate(settings, image_size=image_size)
    return resolve_finetune(settings, image_size=image_size)


def _same(name: str, saved: Any, expected: Any) -> bool:
    if saved == expected:
        return True
    if name not in ("data", "encoder") or not isinstance(saved, str) or not isinstance(expected, str):
        return False
    one, other = Path(saved), Path(expected)
    # a pre-trained encoder is identified by its run: the directory of the comparison may have moved
    return one.absolute() == other.absolute() or (
        one.parts[-3:] == other.parts[-3:] and one.parts[-3:-2] == ("encoders",) and one.name == "encoder"
    )
