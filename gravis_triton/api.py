"""The jobs as functions of keyword arguments."""

import inspect
import textwrap
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

from gravis_triton.cli import JOBS, Job
from gravis_triton.settings.fields import Setting, bare, settings_of
from gravis_triton.settings.jobs import PretrainSettings
from gravis_triton.settings.resolve import resolve, type_of


@cache
def job_function(name: str) -> Callable[..., Any]:
    """The job as a function that takes settings as keyword arguments and returns the result of its workflow.

    It raises UserError for an unknown setting, or a value of a wrong type or out of range.
    """
    job = next(job for job in JOBS.values() if job.workflow.endswith(f".{name}"))

    def call(**settings: Any) -> Any:
        resolved = resolve(job.kind, settings, where=name)  # before torch is imported
        return job.run(resolved)

    arguments = dict(_arguments(job))
    call.__name__ = call.__qualname__ = name
    call.__doc__ = _documentation(job, arguments)
    call.__signature__ = inspect.Signature(list(arguments.values()))  # type: ignore[attr-defined]
    return call


def _arguments(job: Job) -> list[tuple[str, inspect.Parameter]]:
    """The settings of a job as keyword arguments, each with its description. For pre-training those of all methods."""
    if job.kind is job.settings:
        return [_argument(setting) for setting in settings_of(job.settings).values()]
    from gravis_triton.methods import METHODS

    settings: dict[str, Setting] = {}
    having: dict[str, list[str]] = {}
    for method in METHODS:
        for name, setting in settings_of(type_of(job.kind, {"method": method})).items():
            settings.setdefault(name, setting)
            having.setdefault(name, []).append(method)
    return [_argument(s, having[name] if len(having[name]) < len(METHODS) else ()) for name, s in settings.items()]


def _argument(setting: Setting, methods: Sequence[str] = ()) -> tuple[str, inspect.Parameter]:
    """methods: those that have the setting, if not all do; it has no default unless the default method is one."""
    has_default = not methods or PretrainSettings.method in methods
    default = inspect.Parameter.empty if setting.required else setting.default if has_default else ...
    parameter = inspect.Parameter(
        setting.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=bare(setting.hint)
    )
    of_methods = f"({', '.join(methods)}) " if methods else ""
    return f"{setting.name}: {of_methods}{setting.help}", parameter


def _documentation(job: Job, descriptions: Iterable[str]) -> str:
    """What the job does, and every argument with its description, bounds and default."""
    paragraphs = (inspect.getdoc(job.settings) or "").split("\n\n")
    about = [text for text in paragraphs if not text.startswith("Example:")]
    wrap = textwrap.TextWrapper(100, initial_indent=4 * " ", subsequent_indent=8 * " ", break_on_hyphens=False)
    lines = map(wrap.fill, descriptions)
    return "\n\n".join([*about, "Raises UserError for anything the user can fix.", "\n".join(["Args:", *lines])])
