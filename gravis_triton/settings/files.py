"""Settings from the command line and from YAML files, and back to YAML."""

import contextlib
import dataclasses
import difflib
import io
import re
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import tyro
import yaml

from gravis_triton.errors import UserError
from gravis_triton.files import write_whole
from gravis_triton.settings.groups import RunSettings, TrainingSettings

Settings = TypeVar("Settings", bound=RunSettings)


def parse_settings(kind: type[Settings], args: Sequence[str] | None = None) -> Settings:
    """Settings from the command line (None: this process's), on top of `--config FILE` or of the run to `--resume`.

    Raises UserError for a flag that does not exist or does not parse, and for a config file that is missing,
    malformed, or has an unknown key or a value of a wrong type.
    """
    given = _from_flags(kind, args, kind())
    file = _config_file(given)
    return given if file is None else _from_flags(kind, args, read_settings(kind, file))


def _from_flags(kind: type[Settings], args: Sequence[str] | None, default: Settings) -> Settings:
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(kind, args=args, default=default)
    except SystemExit as exit:
        if not exit.code:  # --help
            raise
        raise UserError(_in_one_line(complaint.getvalue())) from exit


def _in_one_line(complaint: str) -> str:
    """What tyro says in a box of paragraphs: the first one, and the flags that it thinks were meant."""
    text = "\n".join(line.strip("│╭╮╰╯|+ ") for line in complaint.splitlines())
    paragraphs = (" ".join(paragraph.split()) for paragraph in re.split(r"[─-]{9,}", text))
    title, *rest = filter(None, paragraphs)
    said = rest[0] if rest else title
    meant = [
        flag
        for paragraph in rest
        if "meant" in paragraph
        for flag in re.findall(r"--[a-z][a-z-]*", paragraph)
    ]
    return said.rstrip(".") + (f"; perhaps you meant {meant[0]}" if meant else "; --help lists the flags")


def _config_file(settings: RunSettings) -> Path | None:
    if settings.config is not None:
        return Path(settings.config)
    if not isinstance(settings, TrainingSettings) or settings.resume in (None, "auto"):
        return None
    saved = run_directory(Path(str(settings.resume))) / "config.yaml"
    return saved if saved.is_file() else None


def run_directory(path: Path) -> Path:
    """The run directory that a path names: itself, or the one that the checkpoint lies in."""
    return path.parent.parent if path.parent.name == "checkpoints" else path


def read_settings(kind: type[Settings], file: Path) -> Settings:
    """Settings from a YAML file of `name: value` lines; what it does not name keeps its default."""
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
    hints = get_type_hints(kind)
    return kind(**{name: _checked(file, name, value, hints) for name, value in values.items()})


def _checked(file: Path, name: Any, value: Any, hints: dict[str, Any]) -> Any:
    if name not in hints:
        near = difflib.get_close_matches(str(name), hints, n=1)
        raise UserError(
            f"{file}: there is no setting {name!r}" + (f"; did you mean {near[0]!r}?" if near else "")
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
    raise UserError(f"{file}: {name} must be {wanted}, not {value!r}")


def write_settings(settings: RunSettings, file: Path) -> None:
    """Write all settings as YAML that `--config` reads; the file appears whole or not at all."""
    write_whole(file, yaml.safe_dump(dataclasses.asdict(settings), sort_keys=False))
