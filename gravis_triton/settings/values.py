"""YAML files of `name: value` lines, checked."""

import difflib
import types
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import yaml

from gravis_triton.errors import UserError


def read_values(file: Path, hints: dict[str, Any]) -> dict[str, Any]:
    """The values in a YAML file; `hints` names what it may hold, and of which type.

    Raises UserError for a file that cannot be read or is no such YAML, an unknown name and a value of a wrong type.
    """
    try:
        values = yaml.safe_load(file.read_text())
    except OSError as error:
        raise UserError(f"cannot read the config file {file}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{file} is not valid YAML: {' '.join(str(error).split())}") from error
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise UserError(f"{file} must hold `name: value` lines, not a {type(values).__name__}")
    return {name: checked(file, name, value, hints) for name, value in values.items()}


def checked(where: object, name: Any, value: Any, hints: dict[str, Any]) -> Any:
    """The value of the setting `name`, an int as float where `hints` wants one.

    Raises UserError, which begins with `where`, for an unknown name and a value of a wrong type.
    """
    if name not in hints:
        near = difflib.get_close_matches(str(name), hints, n=1)
        raise UserError(
            f"{where}: there is no setting {name!r}" + (f"; did you mean {near[0]!r}?" if near else "")
        )
    hint = hints[name]
    choices = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    for choice in choices:
        if get_origin(choice) is Literal and value in get_args(choice):
            return value
        if choice is float and type(value) in (int, float):
            return float(value)
        if isinstance(choice, type) and type(value) is choice:
            return value
    wanted = " or ".join(
        "|".join(map(str, get_args(choice)))
        if get_origin(choice) is Literal
        else getattr(choice, "__name__", str(choice))
        for choice in choices
    ).replace("NoneType", "null")
    raise UserError(f"{where}: {name} must be {wanted}, not {value!r}")
