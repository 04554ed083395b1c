"""Read and write settings as YAML, and resolve augmentation presets and files."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

import yaml

from gravis_triton.errors import UserError, did_you_mean
from gravis_triton.files import atomic_write
from gravis_triton.run_directory import RunDirectory
from gravis_triton.settings.augmentation import PRESETS, ViewSettings
from gravis_triton.settings.flat import (
    RENAMED,
    checked_values,
    flat_hints,
    flatten,
    override,
    required_settings,
)
from gravis_triton.settings.loss import LossSettings
from gravis_triton.settings.ranges import Range, check_ranges

Settings = TypeVar("Settings")

IRRELEVANT = (
    "config", "output_dir", "overwrite", "resume", "tracker", "cache_dir", "num_workers", "log_every",
    "checkpoint_every",
)  # fmt: skip
"""Settings that do not change any result."""

_PACKAGE = Path(__file__).parents[1]
CONFIG_DIRECTORIES = (_PACKAGE / "configs", _PACKAGE.parent / "recipes" / "configs")
"""Directories of the shipped configs: in a wheel, and in the repository."""

_STEPS = {name: hint for name, hint in flat_hints(ViewSettings).items() if name not in ("augment", "views")}


def read_settings(kind: type[Settings], file: str | Path) -> Settings:
    """Read settings from a YAML file of `name: value` lines; missing settings keep their defaults.

    Missing augmentation steps have the strengths of the file's preset. Config files of version 0.1 can be read.
    Raises UserError if the file is missing or malformed, for an unknown name, and for a value of the wrong type or
    out of range.
    """
    return settings_from(kind, _without_old_defaults(kind, read_yaml(find_config(file))), where=str(file))


def settings_from(kind: type[Settings], values: Mapping[Any, Any], *, where: str) -> Settings:
    """Settings from values by their flat names. Raises UserError like `read_settings`, prefixed by `where`."""
    checked = checked_values(where, values, flat_hints(kind))
    if "augment" in flat_hints(kind) and not _STEPS.keys() <= checked.keys():
        checked = augmentation(checked.get("augment", ViewSettings.augment)) | checked
    required = required_settings(kind)
    if missing := [name for name in required if name not in checked]:
        raise UserError(f"{where}: missing setting {', '.join(missing)}")
    settings = override(kind(**dict.fromkeys(required)), checked)
    check_ranges(settings, lambda name: f"{where}: {name}")
    return settings


def settings_on_file(kind: type[Settings], given: Mapping[str, Any], *, where: str) -> Settings:
    """Settings from values by their flat names, on top of the `config` or the run to resume in `given`.

    Raises UserError like `settings_from`, and for a file like `read_settings`.
    """
    file = config_file(given)
    if file is None:
        return settings_from(kind, given, where=where)
    given = checked_values(where, given, flat_hints(kind))
    start = flatten(read_settings(kind, file))
    return settings_from(kind, start | reset_values(start, given) | given, where=where)


def reset_values(start: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Values to reset in `start` if `given` names a different augmentation or loss: the steps of that augmentation,
    and the defaults of that loss. Raises UserError like `augmentation`."""
    values: dict[str, Any] = {}
    if given.get("augment", start.get("augment")) != start.get("augment"):
        values |= augmentation(given["augment"])
    if given.get("loss", start.get("loss")) != start.get("loss"):
        values |= {name: None for name in flat_hints(LossSettings) if name != "loss"}
    return values


def config_file(values: Mapping[str, Any]) -> str | Path | None:
    """The config file that the values override: that of `config`, else of the run that `resume` names or continues,
    or None."""
    if values.get("config") is not None:
        return str(values["config"])
    resume = values.get("resume")
    resumed = values.get("output_dir") if resume == "auto" else resume
    if resumed is None:
        return None
    saved = RunDirectory.of(resumed).config
    return saved if saved.is_file() else None


def changed_settings(settings: Any, file: Path) -> list[str]:
    """What a resumed run's settings change in the config.yaml so far, as "name: before -> now"."""
    before, now = read_yaml(file), yaml.safe_load(yaml.safe_dump(flatten(settings)))
    return [
        f"{name}: {before[name]} -> {now[name]}"
        for name in now
        if name in before and name not in IRRELEVANT and now[name] != before[name]
    ]


def write_settings(settings: Any, file: Path) -> None:
    """Write all settings as YAML that `--config` reads, atomically."""
    atomic_write(file, yaml.safe_dump(flatten(settings), sort_keys=False))


def augmentation(name: str) -> dict[str, Any]:
    """Strengths of all steps of a preset, or of a YAML file of `name: value` lines on top of the published ones.

    Raises UserError if the name is neither, and for a file like `read_settings`.
    """
    if name in PRESETS:
        settings = PRESETS[name]
    else:
        if not Path(name).is_file():
            raise UserError(
                f"--augment {name} is neither a preset ({', '.join(PRESETS)}) nor a file{did_you_mean(name, PRESETS)}"
            )
        settings = override(ViewSettings(), checked_values(name, read_yaml(Path(name)), _STEPS))
        check_ranges(settings, lambda step: f"{name}: {step}")
    return {step: getattr(settings, step) for step in _STEPS}


def find_config(name: str | Path) -> Path:
    """The file of this name, else the shipped config of this name, with or without `.yaml`."""
    if Path(name).exists():
        return Path(name)
    for directory in CONFIG_DIRECTORIES:
        for shipped in (directory / name, directory / f"{name}.yaml"):
            if shipped.is_file():
                return shipped
    shipped_names = {file.stem for directory in CONFIG_DIRECTORIES for file in directory.glob("*.yaml")}
    raise UserError(
        f"{name}: no such config file{did_you_mean(name, shipped_names)}; "
        f"shipped configs: {', '.join(sorted(shipped_names))}"
    )


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, which would let the last of several equal keys win without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<"]
        if twice := [key for key, count in Counter(keys).items() if count > 1]:
            raise yaml.constructor.ConstructorError(
                None, None, f"{twice[0]!r} is there twice", node.start_mark
            )
        return super().construct_mapping(node, deep)


def read_yaml(file: Path) -> dict[Any, Any]:
    """The mapping in a YAML file. Raises UserError if it cannot be read or contains something else."""
    if file.exists() and not file.is_file():
        raise UserError(f"{file} is not a regular file: copy it to one")
    try:
        values = yaml.load(file.read_text(), _Loader)  # a SafeLoader
    except OSError as error:
        raise UserError(f"cannot read the config file {file}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{file} is not valid YAML: {' '.join(str(error).split())}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UserError(f"{file} must contain `name: value` lines, not a {type(values).__name__}")
    return values


def _without_old_defaults(kind: type[Any], values: Mapping[Any, Any]) -> dict[Any, Any]:
    """Replace 0 and -1 by None where version 0.1, recognized by its names, wrote them as defaults."""
    if not RENAMED.keys() & values.keys():
        return dict(values)
    ranges = _ranges(kind)

    def is_old_default(name: Any, value: Any) -> bool:
        return (
            value in (0, -1)
            and type(value) in (int, float)
            and name in ranges
            and not ranges[name].contains(value)
        )

    return {name: None if is_old_default(name, value) else value for name, value in values.items()}


def _ranges(kind: type[Any]) -> dict[str, Range]:
    """The ranges of all settings that may be None."""
    optional = {name for name, hint in flat_hints(kind).items() if type(None) in get_args(hint)}
    groups = [hint for hint in get_type_hints(kind).values() if isinstance(hint, type)]
    return {
        name: bounds
        for group in groups
        for name, hint in get_type_hints(group, include_extras=True).items()
        for bounds in get_args(hint)[1:]
        if isinstance(bounds, Range) and name in optional
    }
