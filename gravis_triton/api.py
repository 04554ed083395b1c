"""The jobs as functions of keyword arguments; `python -m gravis_triton.api` writes their signatures to __init__.pyi."""

import inspect
import textwrap
from collections.abc import Callable, Mapping
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
    job = next(job for job in JOBS.values() if job.function == name)

    def call(**settings: Any) -> Any:
        resolved = resolve(job.kind, settings, where=name)
        return job.workflow(resolved)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = _documentation(job)
    call.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(
                setting.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=inspect.Parameter.empty if setting.required else setting.default,
                annotation=bare(setting.hint),
            )
            for setting in _arguments(job).values()
        ]
    )
    return call


def stub() -> str:
    """The text of __init__.pyi."""
    results = {name: get_type_hints(job.workflow)["return"] for name, job in JOBS.items()}
    imports = sorted({f"from {result.__module__} import {result.__name__}" for result in results.values()})
    text = _HEADER + "\n".join(imports) + "\n\n__version__: str\n"
    for name, job in JOBS.items():
        arguments = "".join(map(_argument, _arguments(job).values()))
        documentation = textwrap.indent(f'"""{_documentation(job)}\n"""', "    ")
        text += f"\ndef {job.function}(\n    *,\n{arguments}) -> {results[name].__name__}:\n{documentation}\n"
    return text


def _arguments(job: Job) -> Mapping[str, Setting]:
    return settings_of(type_of(job.kind, {}))


def _argument(setting: Setting) -> str:
    default = "" if setting.required else f" = {setting.default!r}".replace("'", '"')
    hint = _type(bare(setting.hint))
    hint = hint.replace("str", "str | Path", 1) if setting.name in _PATHS else hint
    return f"    {setting.name}: {hint}{default},\n"


def _documentation(job: Job) -> str:
    """What the job does, and every argument with its description, bounds and default."""
    paragraphs = (inspect.getdoc(job.settings) or "").split("\n\n")
    about = "\n\n".join(text for text in paragraphs if not text.startswith("Example:"))
    lines = [_wrapped(f"{setting.name}: {setting.help}") for setting in _arguments(job).values()]
    return "\n".join([about, "", "Raises UserError for anything the user can fix.", "", "Args:", *lines])


def _wrapped(line: str) -> str:
    return textwrap.fill(line, 100, initial_indent=4 * " ", subsequent_indent=8 * " ", break_on_hyphens=False)


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
