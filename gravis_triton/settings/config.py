"""Config files: YAML of `name: value` lines, shipped or written by runs."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from gravis_triton.errors import UserError, did_you_mean
from gravis_triton.files import atomic_write
from gravis_triton.settings.fields import settings_of

IRRELEVANT = (
    "config", "output_dir", "overwrite", "resume", "tracker", "cache_dir", "num_workers", "log_every",
    "checkpoint_every",
)  # fmt: skip
"""Settings that do not change any result."""

_PACKAGE = Path(__file__).parents[1]
_SHIPPED = (_PACKAGE / "configs", _PACKAGE.parent / "recipes" / "configs")  # in a wheel, and in the repository


def changed_settings(settings: Any, saved: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Setting -> (value in the config.yaml of a run, value now), where they differ and could change results."""
    now = yaml.safe_load(yaml.safe_dump(vars(settings)))
    common = [name for name in now if name in saved and name not in IRRELEVANT]
    return {name: (saved[name], now[name]) for name in common if now[name] != saved[name]}


def write_settings(settings: Any, file: Path) -> None:
    """Write the name of the job and all its settings as YAML that `--config` reads, atomically."""
    values = {name: getattr(settings, name) for name in settings_of(type(settings))}
    atomic_write(file, yaml.safe_dump({"job": settings.job, **values}, sort_keys=False))


def shipped_configs() -> dict[str, Path]:
    """Name of a shipped config -> its file."""
    return {file.stem: file for directory in _SHIPPED for file in sorted(directory.glob("*.yaml"))}


def find_config(name: str | Path) -> Path:
    """The file of this name, else the shipped config of this name, with or without `.yaml`."""
    if Path(name).exists():
        return Path(name)
    shipped = shipped_configs()
    if (stem := str(name).removesuffix(".yaml")) in shipped:
        return shipped[stem]
    raise UserError(
        f"{name}: no such config file{did_you_mean(name, shipped)}; shipped configs: {', '.join(sorted(shipped))}"
    )


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, which would let the last of several equal keys win without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<"]
        if twice := [key for key, count in Counter(keys).items() if count > 1]:
            raise yaml.constructor.ConstructorError(None, None, f"{twice[0]!r} is there twice", node.start_mark)
        return super().construct_mapping(node, deep)


def read_yaml(file: Path) -> dict[Any, Any]:
    """The mapping in a YAML file. Raises UserError if it cannot be read or contains something else."""
    if file.exists() and not file.is_file():
        raise UserError(f"{file} is not a regular file: copy it to one")
    try:
        values = yaml.load(file.read_text("utf-8"), _Loader)  # a SafeLoader
    except OSError as error:
        raise UserError(f"cannot read the config file {file}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{file} is not valid YAML: {' '.join(str(error).split())}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UserError(f"{file} must contain `name: value` lines, not a {type(values).__name__}")
    return values
