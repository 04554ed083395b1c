"""Settings by their flat names: a job's settings are grouped, but users write `lr`, not `optimization.lr`."""

import re
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from gravis_triton.errors import UserError, did_you_mean

Settings = TypeVar("Settings")

RENAMED = {"held_out": "val_fraction", "synthetic_sources": "synthetic_images"}
"""Names from version 0.1 that are still accepted."""


def flat_hints(kind: type[Any]) -> dict[str, Any]:
    """Name -> type of every setting in every group of a job's settings."""
    hints: dict[str, Any] = {}
    for name, hint in get_type_hints(kind).items():
        hints |= flat_hints(hint) if is_dataclass(hint) and isinstance(hint, type) else {name: hint}
    return hints


def required_settings(kind: type[Any]) -> list[str]:
    """Names of the settings without a default."""
    return [f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING]


def flatten(settings: Any) -> dict[str, Any]:
    """Name -> value of every setting in every group."""
    values: dict[str, Any] = {}
    for field in fields(settings):
        value = getattr(settings, field.name)
        values |= flatten(value) if is_dataclass(value) else {field.name: value}
    return values


def override(settings: Settings, values: Mapping[str, Any]) -> Settings:
    """The settings with some values replaced, by their flat names; unknown names are ignored."""
    changed = {}
    for field in fields(settings):  # type: ignore[arg-type]
        value = getattr(settings, field.name)
        if is_dataclass(value):
            changed[field.name] = override(value, values)
        elif field.name in values:
            changed[field.name] = values[field.name]
    return replace(settings, **changed)  # type: ignore[type-var]


def checked_values(where: str, values: Mapping[Any, Any], hints: Mapping[str, Any]) -> dict[str, Any]:
    """`values` under their current names, each converted to its type in `hints`.

    If a float is expected, an int is converted, and so is 1e-3, which YAML 1.1 reads as text. If "no" is a choice,
    false is converted to it, as YAML 1.1 reads no as false.

    Raises UserError, prefixed by `where`, for an unknown name or a value of the wrong type.
    """
    renamed = {RENAMED.get(name, name): value for name, value in values.items()}
    return {name: checked_value(where, name, value, hints) for name, value in renamed.items()}


def checked_value(where: str, name: Any, value: Any, hints: Mapping[str, Any]) -> Any:
    """One value, see `checked_values`."""
    if name not in hints:
        raise UserError(f"{where}: unknown setting {name!r}{did_you_mean(name, hints)}")
    hint = hints[name]
    if isinstance(value, np.generic):
        value = value.item()
    choices = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    for choice in choices:
        if get_origin(choice) is Literal and value in get_args(choice):
            return value
        if get_origin(choice) is Literal and value is False and "no" in get_args(choice):
            return "no"
        if choice is float and (type(value) in (int, float) or _is_scientific(value)):
            return float(value)
        if choice is str and isinstance(value, str | Path):
            return at_home(str(value))
        if isinstance(choice, type) and type(value) is choice:
            return value
        if choice == tuple[str, ...] and isinstance(value, (list, tuple)):
            return tuple(map(str, value))
    raise UserError(f"{where}: {name} must be {' or '.join(map(_shown, choices))}, not {value!r}")


def at_home(value: str) -> str:
    """A path that starts with ~/, expanded: the shell expands it only at the start of an argument, and YAML never."""
    return str(Path(value).expanduser()) if value.startswith("~/") else value


def _is_scientific(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+", value) is not None


def _shown(choice: Any) -> str:
    if get_origin(choice) is Literal:
        return "|".join(map(str, get_args(choice)))
    return "null" if choice is type(None) else getattr(choice, "__name__", str(choice))
