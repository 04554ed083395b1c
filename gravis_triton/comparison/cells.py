"""The cells of a grid: one run of one recipe each, in a directory of its own."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gravis_triton.comparison.grid import PRETRAIN, TASKS, Grid, Values
from gravis_triton.errors import UserError
from gravis_triton.evaluation import COLOR_HISTOGRAM
from gravis_triton.losses import resolve_loss
from gravis_triton.settings import (
    ClassificationSettings,
    EvaluateSettings,
    PretrainSettings,
    RunSettings,
    SegmentationSettings,
    flag,
    parse_settings,
    resolve_evaluation,
    resolve_finetune,
    resolve_settings,
)

# what changes no result
_FREE = (
    "config", "output_dir", "overwrite", "resume", "tracker", "cache_dir", "num_workers", "log_every",
    "checkpoint_every",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One run. task: a name of `TASKS`, or `PRETRAIN`; label_fraction: None for the latter."""

    task: str
    encoder: str
    label_fraction: float | None
    seed: int
    recipe: str
    directory: Path
    settings: RunSettings
    flags: tuple[str, ...]

    @property
    def finished(self) -> bool:
        return (self.directory / "summary.json").is_file()

    @property
    def name(self) -> str:
        """How the user is told of it."""
        labels = "" if self.label_fraction is None else f" with {self.label_fraction * 100:g} % of the labels"
        return f"{self.task} {self.encoder}{labels}, seed {self.seed}"


def plan_cells(grid: Grid) -> list[Cell]:
    """All cells in the order in which they are run: seed by seed, and an encoder is pre-trained before its tasks.

    Raises UserError where a setting does not parse or is out of range.
    """
    return [cell for seed in grid.seeds for name in grid.encoders for cell in _of_encoder(grid, name, seed)]


def _of_encoder(grid: Grid, name: str, seed: int) -> Iterator[Cell]:
    given, output = grid.encoders[name], Path(grid.output_dir)
    split = {} if grid.official_split else {"split_seed": seed}
    fixed = {"data": grid.data, "seed": seed, **split}
    if isinstance(given, str):
        spec = given
        learned = given not in ("random", "imagenet")
    else:
        directory = output / "encoders" / f"{name}-{seed}"
        spec, learned = str(directory / "encoder"), True
        values = {**_known(grid.common, PretrainSettings), **grid.pretrain, **given, **fixed}
        yield _cell(PRETRAIN, PRETRAIN, PretrainSettings, name, None, seed, directory, values)
    architecture = {**grid.common, **grid.pretrain}.get("model")
    for task, own in grid.tasks.items():
        recipe, kind = TASKS[task]
        if spec == COLOR_HISTOGRAM and kind is not EvaluateSettings:
            continue  # nothing to fine-tune
        values = {**_known(grid.common, kind), **own, **fixed, "encoder": spec}
        values.pop("model", None)  # an encoder that has learned knows its own
        if not learned and architecture is not None:
            values["model"] = architecture
        for fraction in grid.label_fractions:
            directory = output / task / f"{name}-{fraction:g}-{seed}"
            few = {**values, "label_fraction": fraction}
            yield _cell(task, recipe, kind, name, fraction, seed, directory, few)


def _known(values: Values, kind: type[RunSettings]) -> dict[str, Any]:
    names = {field.name for field in dataclasses.fields(kind)}
    return {name: value for name, value in values.items() if name in names}


def _cell(
    task: str,
    recipe: str,
    kind: type[RunSettings],
    encoder: str,
    fraction: float | None,
    seed: int,
    directory: Path,
    values: Values,
) -> Cell:
    again = ("--overwrite",) if kind is EvaluateSettings else ("--resume", "auto")
    flags = tuple(word for name, value in values.items() for word in _words(name, value))
    try:
        settings = parse_settings(kind, flags)
        _resolved(settings, {})
    except UserError as error:
        raise UserError(f"{task} {encoder}: {error}") from error
    return Cell(
        task=task,
        encoder=encoder,
        label_fraction=fraction,
        seed=seed,
        recipe=recipe,
        directory=directory,
        settings=settings,
        flags=(*flags, "--output-dir", str(directory), *again),
    )


def _words(name: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, bool):
        return (flag(name) if value else flag(f"no_{name}"),)
    return flag(name), str(value)


def refuse_contradiction(cell: Cell) -> None:
    """Raises UserError where the cell's directory holds a run, finished or not, with settings that the grid would not
    give it now. Settings that the saved config.yaml does not have, being older than they are, are not compared, nor
    those that change no result."""
    file = cell.directory / "config.yaml"
    if not file.is_file():
        return
    try:
        saved = yaml.safe_load(file.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise UserError(
            f"{file} cannot be read ({' '.join(str(error).split())}): delete {cell.directory}"
        ) from error
    wanted = dataclasses.asdict(_resolved(cell.settings, saved))
    for name in sorted(wanted, key=lambda name: flag(name) not in cell.flags):  # those the grid names first
        value = wanted[name]
        if name in saved and name not in _FREE and not _same(name, saved[name], value):
            raise UserError(
                f"{cell.directory} was made with {name} {saved[name]}, the grid says {value}: "
                "delete that directory, or give another --output-dir"
            )


def _resolved(settings: RunSettings, saved: Values) -> RunSettings:
    """The settings as a run saves them. An image size that the encoder decides is taken from what was saved."""
    if isinstance(settings, PretrainSettings):
        return resolve_loss(resolve_settings(settings))
    if isinstance(settings, EvaluateSettings):
        return resolve_evaluation(settings, image_size=settings.image_size or saved.get("image_size", 1))
    if isinstance(settings, ClassificationSettings):
        return resolve_finetune(settings, image_size=settings.image_size or saved.get("image_size", 1))
    assert isinstance(settings, SegmentationSettings)
    return resolve_finetune(settings, image_size=settings.image_size or saved.get("image_size", 1))


def _same(name: str, saved: Any, wanted: Any) -> bool:
    if saved == wanted:
        return True
    if name not in ("data", "encoder") or not isinstance(saved, str) or not isinstance(wanted, str):
        return False
    one, other = Path(saved), Path(wanted)
    # a pre-trained encoder is known by the run it is from: the directory of the comparison may have moved
    return one.absolute() == other.absolute() or (
        one.parts[-3:] == other.parts[-3:] and one.parts[-3:-2] == ("encoders",) and one.name == "encoder"
    )
