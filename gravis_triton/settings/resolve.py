"""The one step from raw values to settings: a config file or the run to resume, then flags or keyword arguments on top,
the job's type, and a single validation by pydantic."""

from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from gravis_triton.errors import UserError, did_you_mean
from gravis_triton.run_directory import RunDirectory
from gravis_triton.settings.augmentation import PRESETS, ViewSettings
from gravis_triton.settings.config import find_config, read_yaml
from gravis_triton.settings.fields import BOUNDS, choices_of, flag, settings_of, value_type
from gravis_triton.settings.jobs import EvaluateSettings, FinetuneSettings, PretrainSettings

Settings = TypeVar("Settings")
Kind = type[Settings] | Callable[[Mapping[str, Any]], type[Settings]]
"""The type of a job's settings, or a function from their raw values to it: those of a method depend on its name."""

_ALIASES = {"loss": "method"}
"""Another name of a setting, in flags, files and keyword arguments."""
_STEPS = {name: step.hint for name, step in settings_of(ViewSettings).items() if name not in ("augment", "views")}

_EXPECTED = {
    "int": "an integer", "float": "a number", "bool": "true or false",
    "string": "text", "tuple": "a list", "list": "a list", "dict": "`name: value` lines",
}  # fmt: skip
"""First word of pydantic's error type -> what was expected."""


def resolve(kind: Kind[Settings], given: Mapping[str, Any], where: str = "") -> Settings:
    """A job's settings from values by their flat names, on top of the config file or the run to resume in them.

    If they name another augmentation or method than the file, the file's values for it are dropped. Augmentation steps
    that nothing sets have the strengths of the preset.

    where: prefix of messages; "" for values from the command line, which are named by their flags.
    Raises UserError for a config file that is missing, malformed or of another job; for an unknown or missing setting;
    for a value of a wrong type or out of range; and for settings that contradict each other.
    """
    values, sources = gather(kind, given, where)
    final = type_of(kind, values)
    settings = settings_of(final)
    checked = check_values(values, {name: setting.hint for name, setting in settings.items()}, sources)
    if "augment" in settings and not _STEPS.keys() <= checked.keys():
        checked = augmentation(checked.get("augment", settings["augment"].default)) | checked
    if missing := [name for name, setting in settings.items() if setting.required and name not in checked]:
        raise UserError(f"{where or 'command line'}: missing setting {', '.join(missing)}")
    resolved = final(**checked)
    if isinstance(resolved, PretrainSettings | FinetuneSettings | EvaluateSettings):
        try:
            resolved.check()
        except UserError as error:
            raise UserError(f"{where}: {error}" if where else str(error)) from error
    return resolved


def type_of(kind: Kind[Settings], values: Mapping[str, Any]) -> type[Settings]:
    """The type of the settings with these raw values."""
    return cast(type[Settings], kind if is_dataclass(kind) else kind(values))  # type: ignore[call-arg]


def gather(kind: Kind[Any], given: Mapping[str, Any], where: str = "") -> tuple[dict[str, Any], dict[str, str]]:
    """Raw values by name, and where each comes from: `given` on top of the config file or the run that it names."""
    given = {_ALIASES.get(name, name): _plain(value) for name, value in given.items()}
    sources = dict.fromkeys(given, where)
    file = _config_file(given.get("config"), given.get("resume"), given.get("output_dir"))
    if file is None:
        return given, sources
    saved = _read_config(kind, file)
    settings = settings_of(type_of(kind, saved))
    of_choice = {"augment": _STEPS.keys(), "method": settings.keys() - settings_of(PretrainSettings).keys()}
    for choice, names in of_choice.items():
        if choice in settings and choice in given and given[choice] != saved.get(choice, settings[choice].default):
            saved = {name: value for name, value in saved.items() if name not in names}
    return saved | given, dict.fromkeys(saved, str(file)) | sources


def _config_file(config: Any, resume: Any, output_dir: Any) -> str | Path | None:
    """The config file, else that of the run that `resume` names or continues, if there is one."""
    if config is not None:
        return str(config)
    run = output_dir if resume == "auto" else resume
    saved = RunDirectory.of(run).config if isinstance(run, str) else None
    return saved if saved is not None and saved.is_file() else None


def _read_config(kind: Kind[Any], file: str | Path) -> dict[str, Any]:
    values = {_ALIASES.get(name, name): _plain(value) for name, value in read_yaml(find_config(file)).items()}
    job, expected = values.pop("job", None), getattr(type_of(kind, values), "job", None)
    if job not in (None, expected):
        raise UserError(f"{file} has the settings of {job}, not of {expected}: give another file")
    return values


def _plain(value: Any) -> Any:
    """Numbers of NumPy as those of Python, classes and paths as text, and ~/ as the home directory: the shell expands
    it only at the start of an argument, and YAML never."""
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, type):
        return f"{value.__module__}:{value.__qualname__}"
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        return value.item()
    if isinstance(value, Path) or (isinstance(value, str) and value.startswith("~/")):
        return str(Path(value).expanduser())
    return value


def check_values(values: Mapping[str, Any], hints: Mapping[str, Any], sources: Mapping[str, str]) -> dict[str, Any]:
    """The values, each converted to its type. sources: where each comes from, "" for a flag.

    Raises UserError for an unknown name, and for a value of a wrong type or out of range.
    """
    checked = {}
    for name, value in values.items():
        source = sources[name]
        if name not in hints:
            known = [*hints, *(alias for alias, setting in _ALIASES.items() if setting in hints)]
            raise UserError(f"{source}: unknown setting {name!r}{did_you_mean(name, known)}")
        is_number = value_type(hints[name]) in (int, float)
        plain = str(value) if is_number and isinstance(value, bool) else value  # pydantic would take true for 1
        try:
            checked[name] = _adapter(hints[name]).validate_python(plain)
        except ValidationError as error:
            label = f"{source}: {name}" if source else flag(name)
            raise UserError(f"{label} must be {_expected(error.errors()[0], hints[name], value)}") from None
    return checked


@cache
def _adapter(hint: Any) -> TypeAdapter[Any]:
    return TypeAdapter(hint, config=ConfigDict(allow_inf_nan=False))


def _expected(error: ErrorDetails, hint: Any, value: Any) -> str:
    """What was expected instead of a value: "above 0, not -1"."""
    context = error.get("ctx", {})
    bounds = [f"{words} {context[key]:.10g}" for key, words in BOUNDS.items() if key in context]
    if bounds or error["type"] == "finite_number":
        return f"{bounds[0] if bounds else 'a finite number'}, not {value}"
    if choices := [str(choice) for choice in choices_of(hint)]:
        return f"one of {', '.join(choices)}, not {value!r}{did_you_mean(value, choices)}"
    return f"{_EXPECTED.get(error['type'].split('_')[0], error['msg'])}, not {value!r}"


def augmentation(name: str) -> dict[str, Any]:
    """Strengths of all steps of a preset, or of a YAML file of `name: value` lines on top of the defaults.

    Raises UserError if the name is neither, and for a file like `resolve`.
    """
    if name in PRESETS:
        steps = PRESETS[name]
    elif Path(name).is_file():
        values = read_yaml(Path(name))
        steps = ViewSettings(**check_values(values, _STEPS, dict.fromkeys(values, name)))
    else:
        raise UserError(
            f"--augment {name} is neither a preset ({', '.join(PRESETS)}) nor a file{did_you_mean(name, PRESETS)}"
        )
    return {step: getattr(steps, step) for step in _STEPS}
