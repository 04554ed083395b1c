"""The jobs as functions of keyword arguments; `python -m gravis_triton.api` writes their signatures to __init__.pyi."""

import inspect
import textwrap
from collections.abc import Callable
from dataclasses import MISSING, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from gravis_triton.cli import JOBS, Job
from gravis_triton.settings.fields import Setting, bare, settings_of
from gravis_triton.settings.resolve import resolve, type_of

STUB = Path(__file__).with_name("__init__.pyi")
_PATHS = ("data", "encoder", "grid", "cache_dir", "output", "output_dir", "config", "resume")
_HEADER = '''"""Signatures for editors and type checkers, written by `python -m gravis_triton.api`."""

from pathlib import Path
from typing import Literal

from gravis_triton.errors import Interrupted as Interrupted
from gravis_triton.errors import UserError as UserError
from gravis_triton.inference import load as load
'''


def job_function(name: str) -> Callable[..., Any]:
    """The job as a function that takes settings as keyword arguments and returns the result of its workflow.

    It raises UserError for an unknown setting, or a value of a wrong type or out of range.
    """
    job = next(job for job in JOBS.values() if job.workflow.endswith(f".{name}"))

    def call(**settings: Any) -> Any:
        resolved = resolve(job.kind(), settings, where=name)  # before torch is imported
        return job.load()(resolved)

    arguments = _arguments(job)
    call.__name__ = call.__qualname__ = name
    call.__doc__ = _documentation(job, arguments)
    call.__signature__ = inspect.Signature([a.parameter for a in arguments])  # type: ignore[attr-defined]
    return call


def stub() -> str:
    """The text of __init__.pyi."""
    functions, imports = "", set()
    for job in JOBS.values():
        function, arguments = job.load(), _arguments(job)
        result = get_type_hints(function)["return"]
        imports.add(f"from {result.__module__} import {result.__name__}\n")
        parameters = "".join(f"    {_annotated(argument.parameter)},\n" for argument in arguments)
        text = textwrap.indent(f'"""{_documentation(job, arguments)}\n"""', "    ")
        functions += f"\ndef {function.__name__}(\n    *,\n{parameters}) -> {result.__name__}:\n{text}\n"
    return _HEADER + "".join(sorted(imports)) + "\n__version__: str\n" + functions


@dataclass(frozen=True, slots=True)
class _Argument:
    parameter: inspect.Parameter
    help: str


def _arguments(job: Job) -> list[_Argument]:
    """The settings of a job as keyword arguments. For pre-training those of all methods; what the default method does
    not have is without a default."""
    kind = job.kind()
    if not job.variants:
        return [_argument(setting, setting.default, "") for setting in settings_of(job.settings).values()]
    methods = import_module("gravis_triton.methods").METHODS
    found: dict[str, tuple[Setting, list[str]]] = {}
    for method in methods:
        for name, setting in settings_of(type_of(kind, {"method": method})).items():
            found.setdefault(name, (setting, []))[1].append(method)
    default = type_of(kind, {}).method
    return [
        _argument(
            setting,
            setting.default if default in having else ...,
            f"({', '.join(having)}) " if len(having) < len(methods) else "",
        )
        for setting, having in found.values()
    ]


def _argument(setting: Setting, default: Any, prefix: str) -> _Argument:
    parameter = inspect.Parameter(
        setting.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if default is MISSING else default,
        annotation=bare(setting.hint),
    )
    return _Argument(parameter, prefix + setting.help)


def _documentation(job: Job, arguments: list[_Argument]) -> str:
    """What the job does, and every argument with its description, bounds and default."""
    paragraphs = (inspect.getdoc(job.settings) or "").split("\n\n")
    about = [text for text in paragraphs if not text.startswith("Example:")]
    lines = [_wrapped(f"{argument.parameter.name}: {argument.help}") for argument in arguments]
    return "\n\n".join([*about, "Raises UserError for anything the user can fix.", "\n".join(["Args:", *lines])])


def _wrapped(line: str) -> str:
    return textwrap.fill(line, 100, initial_indent=4 * " ", subsequent_indent=8 * " ", break_on_hyphens=False)


def _annotated(parameter: inspect.Parameter) -> str:
    hint, default = _type(parameter.annotation), parameter.default
    if parameter.name in _PATHS:
        hint = hint.replace("str", "str | Path", 1)
    if default is parameter.empty:
        return f"{parameter.name}: {hint}"
    return f"{parameter.name}: {hint} = " + ("..." if default is ... else repr(default).replace("'", '"'))


def _type(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return f"Literal[{', '.join(map(repr, get_args(hint)))}]".replace("'", '"')
    if hint is type(None):
        return "None"
    if hint == tuple[str, ...]:
        return "tuple[str, ...]"
    return " | ".join(map(_type, get_args(hint))) or hint.__name__


if __name__ == "__main__":
    STUB.write_text(stub())
