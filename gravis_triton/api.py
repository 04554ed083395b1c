"""The jobs as functions of keyword arguments; `python -m gravis_triton.api` writes their signatures to __init__.pyi."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from gravis_triton.cli import JOBS, Job
from gravis_triton.settings.config import settings_on_file
from gravis_triton.settings.flat import flat_hints, flatten, required_settings

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
    job = next(job for job in JOBS.values() if job.function == name)

    def call(**settings: Any) -> Any:
        return job.workflow(settings_on_file(job.settings, settings, where=name))

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"{job.settings.__doc__}\n\nRaises UserError for anything the user can fix."
    call.__signature__ = inspect.Signature(_parameters(job))  # type: ignore[attr-defined]
    return call


def stub() -> str:
    """The text of __init__.pyi."""
    results = {name: get_type_hints(job.workflow)["return"] for name, job in JOBS.items()}
    imports = sorted({f"from {result.__module__} import {result.__name__}" for result in results.values()})
    text = _HEADER + "\n".join(imports) + "\n\n__version__: str\n"
    for name, job in JOBS.items():
        text += f"\ndef {job.function}(\n    *,\n"
        for parameter in _parameters(job):
            default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
            hint = _type(parameter.annotation)
            hint = hint.replace("str", "str | Path", 1) if parameter.name in _PATHS else hint
            text += f"    {parameter.name}: {hint}{default},\n"
        text += f") -> {results[name].__name__}: ...\n"
    return text.replace("'", '"')


def _parameters(job: Job) -> list[inspect.Parameter]:
    """One keyword argument per setting."""
    required = required_settings(job.settings)
    defaults = flatten(job.settings(**dict.fromkeys(required)))
    return [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if name in required else defaults[name],
            annotation=hint,
        )
        for name, hint in flat_hints(job.settings).items()
    ]


def _type(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return f"Literal[{', '.join(map(repr, get_args(hint)))}]"
    if hint is type(None):
        return "None"
    if hint == tuple[str, ...]:
        return "tuple[str, ...]"
    return " | ".join(map(_type, get_args(hint))) or hint.__name__


if __name__ == "__main__":
    STUB.write_text(stub())
